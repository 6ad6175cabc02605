package ways

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

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
	epoll    int
	wake     int  // an eventfd: something has changed that the loop has to know
	least    bool // the worker with the fewest connections, else the next one
	ended    chan struct{}

	// Of the loop.
	paused bool     // the listener is not waited for
	batch  []passed // accepted, and not passed on yet
	last   int      // the place in seats that was chosen last
	buffers

	mu       sync.Mutex // guards the rest
	seats    []*channel // that are open
	stopping bool
}

// buffers are used again for each call of the kernel.
type buffers struct {
	name   [unix.SizeofSockaddrInet6]byte
	events [16]unix.EpollEvent
	fds    []int
	text   []byte
}

// passed is a connection on its way.
type passed struct {
	fd     int
	client wireAddr
}

func newPasser(addr string, least bool) (p *passer, err error) {
	p = &passer{least: least, ended: make(chan struct{})}
	if p.listener, p.bound, err = listenRaw(addr); err != nil {
		return nil, err
	}
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	err = errors.Join(p.watch(unix.EPOLL_CTL_ADD, p.listener, unix.EPOLLIN),
		p.watch(unix.EPOLL_CTL_ADD, p.wake, unix.EPOLLIN|unix.EPOLLET)) // an edge: nobody reads it
	if err != nil {
		return nil, err
	}
	go p.run() // ended by close
	return p, nil
}

func (p *passer) addr() string { return p.bound.String() }

func (p *passer) hire(cmd *exec.Cmd) (seat, error) { return newChannel(p, cmd) }

func (p *passer) close() error {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	p.notify()
	<-p.ended
	return errors.Join(unix.Close(p.listener), unix.Close(p.epoll), unix.Close(p.wake))
}

func (p *passer) watch(op, fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, op, fd, &event))
}

// notify ends the loop's sleep.
func (p *passer) notify() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wake, one[:]) // it fails when 2^64-2 are counted
}

func (p *passer) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	for {
		moved, full, stop := p.turn()
		if stop {
			return
		}
		if moved {
			continue // something may wait by now
		}
		if err := p.sleep(full); err != nil {
			fmt.Fprintln(os.Stderr, "ways:", err)
			return
		}
	}
}

// turn accepts what waits and passes it on.
func (p *passer) turn() (moved, full, stop bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		for _, c := range p.batch {
			_ = unix.Close(c.fd)
		}
		return false, false, true
	}
	if p.full() {
		return false, true, false
	}
	if len(p.batch) == 0 {
		p.acceptAll()
	}
	if len(p.batch) == 0 {
		return false, false, false
	}
	p.pass()
	return true, false, false
}

func (p *passer) full() bool {
	return !slices.ContainsFunc(p.seats, func(c *channel) bool { return !c.full })
}

// pass passes the batch on. What a worker has no room for stays.
func (p *passer) pass() {
	for _, c := range p.batch {
		s := p.seats[p.pick()]
		s.next = append(s.next, c)
		s.given++
	}
	p.batch, p.fds = p.batch[:0], p.fds[:0]
	for _, s := range p.seats {
		if len(s.next) == 0 {
			continue
		}
		if s.send() {
			for _, c := range s.next {
				p.fds = append(p.fds, c.fd)
			}
		} else {
			p.batch = append(p.batch, s.next...)
			s.given -= uint64(len(s.next))
		}
		s.next = s.next[:0]
	}
	closeAll(p.fds) // the workers have theirs
}

// pick chooses a worker that is not full. There is one. In turn means what it means in Node's cluster: a worker that has not
// read what it was given comes after those that have.
func (p *passer) pick() int {
	best, fewest := -1, uint64(0)
	for i := range p.seats {
		i = (p.last + 1 + i) % len(p.seats)
		s := p.seats[i]
		has := s.unread()
		if p.least {
			has = s.live()
		}
		if !s.full && (best < 0 || has < fewest) {
			best, fewest = i, has
		}
	}
	p.last = best
	return best
}
