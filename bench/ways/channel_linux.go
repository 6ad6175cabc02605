package ways

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// channel leads from a passer to a worker: a socket pair, on which each message carries connections, and a tally
// that the worker keeps.
type channel struct {
	of    *passer
	fd    int        // our end
	files []*os.File // the worker's end, and its tally; closed as soon as it has them
	tally *tally

	// Guarded by of.mu.
	given uint64   // to the worker
	full  bool     // it has not read what it was given, or is gone
	next  []passed // what it gets of this batch
}

// newChannel prepares a worker's command.
func newChannel(p *passer, cmd *exec.Cmd) (_ *channel, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	s := &channel{of: p, fd: ends[0], files: []*os.File{os.NewFile(uintptr(ends[1]), "connections")}}
	// The smallest buffer there is. A worker that does not read is full with some messages, and others get what it would
	// have got.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 0); err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt", err), s.handOver(), unix.Close(s.fd))
	}
	kept, file, err := newTally()
	if err != nil {
		return nil, errors.Join(err, s.handOver(), unix.Close(s.fd))
	}
	s.tally, s.files = kept, append(s.files, file)
	cmd.ExtraFiles = s.files
	return s, nil
}

// handOver closes what the worker has.
func (s *channel) handOver() (err error) {
	for _, file := range s.files {
		err = errors.Join(err, file.Close())
	}
	s.files = nil
	return err
}

// open gives the worker connections.
func (s *channel) open() error {
	// No event but that the worker is gone, once.
	if err := s.of.watch(unix.EPOLL_CTL_ADD, s.fd, unix.EPOLLONESHOT); err != nil {
		return err
	}
	s.of.mu.Lock()
	s.of.seats = append(s.of.seats, s)
	s.of.mu.Unlock()
	s.of.notify()
	return s.handOver()
}

// close lets the worker read what it was given, and then the end.
func (s *channel) close() {
	s.of.mu.Lock()
	s.of.seats = slices.DeleteFunc(s.of.seats, func(one *channel) bool { return one == s })
	s.of.mu.Unlock()
	_ = unix.Shutdown(s.fd, unix.SHUT_WR) // the worker may have ended
}

func (s *channel) free() {
	s.close()
	_ = s.handOver()     // if open has not done it
	_ = unix.Close(s.fd) // epoll forgets it by itself
	s.tally.unmap()
}

// live returns how many connections the worker has.
func (s *channel) live() uint64 { return s.given - s.tally.closed.Load() }

// unread returns how many of them it does not know of yet.
func (s *channel) unread() uint64 { return s.given - s.tally.taken.Load() }

// send passes what is in next, or finds that the worker is full.
func (s *channel) send() bool {
	p := s.of
	p.text = p.text[:0]
	fds := make([]int, 0, maxBatch)
	for _, c := range s.next {
		fds, p.text = append(fds, c.fd), append(p.text, c.client[:]...)
	}
	for {
		_, err := unix.SendmsgN(s.fd, p.text, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			return true
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			_ = p.watch(unix.EPOLL_CTL_MOD, s.fd, unix.EPOLLOUT|unix.EPOLLONESHOT) // it fails when s is freed
		}
		s.full = true // for good, when the worker is gone
		return false
	}
}

// tally is what a worker tells the master of its connections, in memory that both share: it takes no system call.
type tally struct {
	taken  atomic.Uint64 // read from the socket
	closed atomic.Uint64
}

// newTally returns a tally, and the file by which another process gets it, which the caller closes.
func newTally() (*tally, *os.File, error) {
	fd, err := unix.MemfdCreate("tally", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "tally")
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	t, err := openTally(file)
	if err != nil {
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
