package load

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Ledger is a file in which each server writes who has accepted the connection from which port: what a process has written is
// there when it has been killed. All clients are on this machine, with one address for each family.
type Ledger struct{ file *os.File }

// An entry is a pid and the time in milliseconds, cut to 32 bits.
const ledgerEntry = 8

// OpenLedger opens the file, and makes it if it is not there.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	return &Ledger{f}, err
}

// Close ends the use of the file. Others go on.
func (l *Ledger) Close() { _ = l.file.Close() } // what was written is there

// place is where the entry of a client is: those of IPv6 are behind those of IPv4.
func place(client netip.AddrPort) int64 {
	port := int64(client.Port())
	if !client.Addr().Unmap().Is4() {
		port += 1 << 16
	}
	return ledgerEntry * port
}

// Note writes that this process has accepted a connection.
func (l *Ledger) Note(conn net.Conn) {
	if client, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		l.note(client.AddrPort(), os.Getpid())
	}
}

func (l *Ledger) note(client netip.AddrPort, pid int) {
	entry := binary.LittleEndian.AppendUint32(nil, uint32(pid))
	entry = binary.LittleEndian.AppendUint32(entry, uint32(Now().Milliseconds()))
	_, _ = l.file.WriteAt(entry, place(client)) // a failure that it would explain is then one for no reason
}

// find returns who has accepted the connection that was opened at that time, 0 if nobody has.
func (l *Ledger) find(client netip.AddrPort, opened time.Duration) (pid int) {
	entry := make([]byte, ledgerEntry)
	_, _ = l.file.ReadAt(entry, place(client)) // zero: nobody has written so far into the file
	if int32(binary.LittleEndian.Uint32(entry[4:])-uint32(opened.Milliseconds())) < 0 {
		return 0 // an earlier one
	}
	return int(binary.LittleEndian.Uint32(entry))
}

// localAddr returns the address of a connection's own end, the zero value if there is none.
func localAddr(fd int) netip.AddrPort {
	name, _ := unix.Getsockname(fd)
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	default:
		return netip.AddrPort{}
	}
}
