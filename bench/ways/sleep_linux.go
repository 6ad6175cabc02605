package ways

import (
	"errors"
	"os"
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
