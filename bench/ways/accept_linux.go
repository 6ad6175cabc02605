package ways

import (
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
