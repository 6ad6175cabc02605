package bus

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ticker calls a function periodically while it is on. It is a timerfd(2) and not a timer of the runtime: with that, each
// wait of the process for the network would also set a timer of the kernel, which costs a microsecond.
type ticker struct {
	file *os.File

	mu     sync.Mutex
	fd     int  // guarded by mu
	closed bool // guarded by mu
}

// newTicker returns a ticker that is off. run has to be called, and returns after close.
func newTicker() (*ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &ticker{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

func (t *ticker) run(tick func()) {
	var expirations [8]byte
	for {
		if _, err := t.file.Read(expirations[:]); err != nil {
			return
		}
		tick()
	}
}

// set turns the ticker on with a period, or off with 0.
func (t *ticker) set(period time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	interval := unix.NsecToTimespec(period.Nanoseconds())
	_ = unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil) // fails for wrong arguments only
}

func (t *ticker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	_ = t.file.Close()
}
