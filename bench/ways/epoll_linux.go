package ways

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sleep waits for a connection, or when all workers are full, for one that is not.
func (p *passer) sleep(full bool) error {
	if full != p.paused {
		p.paused = full
		events := uint32(unix.EPOLLIN)
		if full {
			events = 0
		}
		if err := p.watch(unix.EPOLL_CTL_MOD, p.listener, events); err != nil {
			return err
		}
	}
	n, err := p.wait()
	if err != nil {
		return err
	}
	for _, event := range p.events[:n] {
		if event.Events&unix.EPOLLOUT != 0 {
			p.hasRoom(int(event.Fd))
		}
	}
	return nil
}

// wait waits for some time without Go's scheduler knowing: the thread keeps its processor, as a program in C would. Else
// each short sleep costs a futex(2) or two, since the runtime takes the processor away, lets its monitor sleep, and wakes
// it up afterwards. A long sleep is the runtime's matter: there its monitor would interrupt the thread again and again.
func (p *passer) wait() (n int, err error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events)),
		uintptr(len(p.events)), uintptr(keepProcessor.Milliseconds()), 0, 0)
	switch {
	case errno != 0:
		err = errno
	case r == 0:
		n, err = unix.EpollWait(p.epoll, p.events[:], -1)
	default:
		n = int(r)
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, os.NewSyscallError("epoll_wait", err)
	}
	return max(n, 0), nil // an interrupted wait has found nothing
}

func (p *passer) hasRoom(fd int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seats {
		if s.fd == fd {
			s.full = false
		}
	}
}

func (p *passer) acceptAll() {
	for len(p.batch) < maxBatch {
		fd, errno := p.accept()
		switch errno {
		case 0:
			p.batch = append(p.batch, passed{fd, clientAddr(p.name[:])})
		case unix.EAGAIN:
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
