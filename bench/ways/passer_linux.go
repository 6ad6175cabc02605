package ways

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxBatch is how many connections are accepted before they are passed on: enough to share the system calls among
	// them, and few enough that the first one does not wait, and that a worker which does not read gets few.
	maxBatch = 16

	// keepProcessor is how long the loop waits before Go's runtime is told that it waits.
	keepProcessor = time.Millisecond

	// exhausted is how long the loop pauses when there is no descriptor left, as net/http does at first.
	exhausted = 5 * time.Millisecond
)

// passer accepts all connections in one thread and passes their descriptors to workers. It is as fast as we could make
// it; README.md has its system calls.
//
// The loop takes what waits in the listener's queue, up to maxBatch, chooses a worker for each connection, and passes those
// of one worker in one message, with the clients' addresses. It sleeps only when nothing waits, or when every worker is
// full; then connections wait in the listener's queue.
type passer struct {
	listener int
	bound    net.Addr
	least    bool // the worker with the fewest connections, else the next one
	ended    chan struct{}

	mu    sync.Mutex // guards seats, and what is in them
	seats []*channel // of workers that are ready

	// Of the loop.
	batch  []passed // accepted, and not passed on yet
	last   int      // the place in seats that was chosen last
	polled []unix.PollFd
	name   sockaddr // these are used again for each call of the kernel
	fds    []int
	text   []byte
}

// passed is a connection on its way, and its client.
type passed struct {
	fd     int
	client sockaddr
}

func newPasser(addr string, least bool) (*passer, error) {
	fd, bound, err := listenRaw(addr)
	if err != nil {
		return nil, err
	}
	p := &passer{listener: fd, bound: bound, least: least, ended: make(chan struct{})}
	go p.run() // ended by close
	return p, nil
}

func (p *passer) addr() net.Addr { return p.bound }

func (p *passer) close() error {
	err := unix.Shutdown(p.listener, unix.SHUT_RD) // ends the loop
	<-p.ended
	for _, c := range p.batch {
		err = errors.Join(err, unix.Close(c.fd))
	}
	return errors.Join(err, unix.Close(p.listener))
}

func (p *passer) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	for {
		if p.turn() {
			continue
		}
		if open, err := p.sleep(); !open {
			if err != nil {
				fmt.Fprintln(os.Stderr, "ways:", err)
			}
			return
		}
	}
}

// turn accepts what waits and passes it on, and prepares a sleep, unless there is more to do at once.
func (p *passer) turn() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batch) == 0 {
		p.tryAll()
	}
	p.polled = append(p.polled[:0], unix.PollFd{Fd: int32(p.listener)}) // no event but its end
	if !slices.ContainsFunc(p.seats, func(s *channel) bool { return !s.full }) {
		for _, s := range p.seats {
			p.polled = append(p.polled, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLOUT})
		}
		p.tryAll()
		return false
	}
	if len(p.batch) == 0 {
		p.acceptAll()
	}
	more = len(p.batch) == maxBatch
	p.pass()
	p.polled[0].Events = unix.POLLIN
	return more || len(p.batch) > 0
}

// tryAll has full workers tried again, which may have read by now.
func (p *passer) tryAll() {
	for _, s := range p.seats {
		s.full = false
	}
}

// sleep waits for a connection, or when all workers are full, for one that is not. It says whether the listener is open.
//
// It waits for some time without Go's scheduler knowing: the thread keeps its processor, as a program in C would. Else
// each short sleep costs a futex(2) or two, since the runtime takes the processor away, lets its monitor sleep, and wakes
// it up afterwards. A long sleep is the runtime's matter: there its monitor would interrupt the thread again and again. There is
// none while all workers are full, so that a new one is seen.
func (p *passer) sleep() (open bool, err error) {
	brief := unix.NsecToTimespec(int64(keepProcessor))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p.polled[0])), uintptr(len(p.polled)),
		uintptr(unsafe.Pointer(&brief)), 0, 0, 0)
	switch {
	case errno != 0:
		err = errno
	case n == 0 && p.polled[0].Events != 0:
		_, err = unix.Poll(p.polled, -1)
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, os.NewSyscallError("ppoll", err)
	}
	return p.polled[0].Revents&unix.POLLHUP == 0, nil
}

func (p *passer) acceptAll() {
	for len(p.batch) < maxBatch {
		fd, errno := p.accept()
		switch errno {
		case 0:
			p.batch = append(p.batch, passed{fd, p.name})
		case unix.EAGAIN, unix.EINVAL: // nothing waits, or the listener is shut down
			return
		case unix.EINTR, unix.ECONNABORTED:
		default:
			fmt.Fprintln(os.Stderr, "ways: accept4:", errno)
			time.Sleep(exhausted)
			return
		}
	}
}

// accept does not wait, so Go's scheduler need not know, and makes no garbage.
func (p *passer) accept() (fd int, errno unix.Errno) {
	size := uint32(len(p.name))
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(p.listener), uintptr(unsafe.Pointer(&p.name)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0, 0)
	return int(r), errno
}

// pass passes the batch on. What a worker has no room for stays.
func (p *passer) pass() {
	for _, c := range p.batch {
		s := p.pick()
		s.next = append(s.next, c)
		s.given++
	}
	p.batch, p.fds = p.batch[:0], p.fds[:0]
	for _, s := range p.seats {
		switch {
		case len(s.next) == 0:
		case p.send(s.fd, s.next):
			for _, c := range s.next {
				p.fds = append(p.fds, c.fd)
			}
		default:
			s.full = true
			s.given -= uint64(len(s.next))
			p.batch = append(p.batch, s.next...)
		}
		s.next = s.next[:0]
	}
	closeAll(p.fds) // the workers have theirs
}

// pick chooses a worker that is not full. There is one. In turn means what it means in Node's cluster: a worker that has not
// read what it was given comes after those that have.
func (p *passer) pick() (best *channel) {
	var fewest uint64
	first := p.last + 1
	for i := range p.seats {
		i = (first + i) % len(p.seats)
		s := p.seats[i]
		has := s.given - s.tally.taken.Load()
		if p.least {
			has = s.live()
		}
		if !s.full && (best == nil || has < fewest) {
			best, fewest, p.last = s, has, i
		}
	}
	return best
}

// send passes connections to a worker. It fails when the worker is full, or gone.
func (p *passer) send(socket int, all []passed) bool {
	fds := make([]int, 0, maxBatch)
	p.text = p.text[:0]
	for _, c := range all {
		fds, p.text = append(fds, c.fd), append(p.text, c.client[:]...)
	}
	_, err := unix.SendmsgN(socket, p.text, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err == nil
}

// closeAll closes descriptors. Those of a batch have numbers in a row, mostly, and take one system call.
func closeAll(fds []int) {
	slices.Sort(fds)
	for len(fds) > 0 {
		n := 1
		for n < len(fds) && fds[n] == fds[0]+n {
			n++
		}
		_ = unix.CloseRange(uint(fds[0]), uint(fds[n-1]), 0) // it does not fail for what is open
		fds = fds[n:]
	}
}
