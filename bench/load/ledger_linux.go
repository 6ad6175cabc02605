package load

import (
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ledger is a file in which each server writes who has accepted the connection from which port: it is mapped, so that
// what a process has written is there when it has been killed. All clients are on this machine, with one address for
// each family.
type Ledger struct {
	mapped  []byte
	entries []atomic.Uint64 // by port: pid, and the time in milliseconds, cut to 32 bits
}

const ledgerEntries = 2 << 16 // IPv6 behind IPv4

// OpenLedger opens the file, and makes it if it is not there.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const size = ledgerEntries * 8
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	entries := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(mapped))), ledgerEntries)
	return &Ledger{mapped: mapped, entries: entries}, nil
}

// Close ends the use of the file. Others go on.
func (l *Ledger) Close() { _ = unix.Munmap(l.mapped) } // it is a mapping of ours

func (l *Ledger) entry(client netip.AddrPort) *atomic.Uint64 {
	port := int(client.Port())
	if !client.Addr().Unmap().Is4() {
		port += ledgerEntries / 2
	}
	return &l.entries[port]
}

// Note writes that this process has accepted a connection.
func (l *Ledger) Note(conn net.Conn) {
	if client, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		l.note(client.AddrPort(), os.Getpid())
	}
}

func (l *Ledger) note(client netip.AddrPort, pid int) {
	l.entry(client).Store(uint64(uint32(pid))<<32 | uint64(uint32(Now().Milliseconds())))
}

// find returns who has accepted the connection that was opened at that time, 0 if nobody has.
func (l *Ledger) find(client netip.AddrPort, opened time.Duration) (pid int) {
	entry := l.entry(client).Load()
	if int32(uint32(entry)-uint32(opened.Milliseconds())) < 0 {
		return 0 // an earlier one
	}
	return int(entry >> 32)
}

// Now is the time of CLOCK_MONOTONIC, which all processes of a machine share.
func Now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return time.Duration(t.Nano())
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
