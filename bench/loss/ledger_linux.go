package loss

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ledger is a file in which each server writes who has accepted the connection from which port: it is mapped, so that
// what a process has written is there when it has been killed. All clients are on this machine, with one address for
// each family.
type ledger struct {
	mapped  []byte
	entries []atomic.Uint64 // by port: pid, and the time in milliseconds, cut to 32 bits
}

const ledgerEntries = 2 << 16 // IPv6 behind IPv4

func openLedger(path string) (*ledger, error) {
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
	return &ledger{mapped: mapped, entries: entries}, nil
}

func (l *ledger) close() { _ = unix.Munmap(l.mapped) } // it is a mapping of ours

func (l *ledger) entry(port int, ipv6 bool) *atomic.Uint64 {
	if ipv6 {
		port += ledgerEntries / 2
	}
	return &l.entries[port]
}

// note writes that pid has accepted a connection.
func (l *ledger) note(port int, ipv6 bool, pid int) {
	l.entry(port, ipv6).Store(uint64(uint32(pid))<<32 | uint64(uint32(now().Milliseconds())))
}

// find returns who has accepted the connection that was opened at that time, 0 if nobody has.
func (l *ledger) find(port int, ipv6 bool, opened time.Duration) (pid int) {
	entry := l.entry(port, ipv6).Load()
	if int32(uint32(entry)-uint32(opened.Milliseconds())) < 0 {
		return 0 // an earlier one
	}
	return int(entry >> 32)
}

// now is the time of CLOCK_MONOTONIC, which all processes of a machine share.
func now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it cannot fail
	return time.Duration(t.Nano())
}
