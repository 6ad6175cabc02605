package ways

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// channel leads from a passer to a worker: a socket pair, on which each message carries connections, and a tally
// that the worker keeps.
type channel struct {
	of    *passer
	fd    int // our end
	tally *tally

	// Guarded by of.mu.
	given uint64   // to the worker
	full  bool     // it has not read what it was given, or is gone
	next  []passed // what it gets of this batch
}

// seat is a channel. The worker has its other end, and the tally.
func (p *passer) seat() (seat, []*os.File, error) { return p.channel() }

func (p *passer) channel() (*channel, []*os.File, error) {
	kept, file, err := newTally()
	if err != nil {
		return nil, nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		kept.unmap()
		return nil, nil, errors.Join(os.NewSyscallError("socketpair", err), file.Close())
	}
	// The smallest buffer there is. A worker that does not read is full with some messages, and others get what it would
	// have got.
	_ = unix.SetsockoptInt(ends[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 0) // it does not fail for a socket
	return &channel{of: p, fd: ends[0], tally: kept}, []*os.File{os.NewFile(uintptr(ends[1]), "connections"), file}, nil
}

func (s *channel) open() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.seats = append(s.of.seats, s)
}

// close lets the worker read what it was given, and then the end.
func (s *channel) close() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if s.tally == nil {
		return
	}
	s.of.seats = slices.DeleteFunc(s.of.seats, func(one *channel) bool { return one == s })
	_ = unix.Close(s.fd) // it does not fail for what is open
	s.tally.unmap()
	s.tally = nil
}

// live returns how many connections the worker has.
func (s *channel) live() uint64 { return s.given - s.tally.closed.Load() }

// tally is what a worker tells the master of its connections, in memory that both share: it takes no system call.
type tally struct {
	taken  atomic.Uint64 // read from the socket
	closed atomic.Uint64
}

// newTally returns a tally, and the file by which another process gets it.
func newTally() (*tally, *os.File, error) {
	fd, err := unix.MemfdCreate("tally", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "tally")
	err = file.Truncate(int64(os.Getpagesize()))
	t, mapErr := openTally(file)
	if err := errors.Join(err, mapErr); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return t, file, nil
}

func openTally(file *os.File) (*tally, error) {
	memory, err := unix.MmapPtr(int(file.Fd()), 0, nil, uintptr(os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return (*tally)(memory), nil
}

// unmap ends the tally: it must not be used any more.
func (t *tally) unmap() {
	_ = unix.MunmapPtr(unsafe.Pointer(t), uintptr(os.Getpagesize())) // it does not fail for what is mapped
}
