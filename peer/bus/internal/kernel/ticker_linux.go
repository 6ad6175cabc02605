package kernel

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Ticker calls a function periodically while it is on. It is a timerfd(2) and not a timer of the runtime: with that, each
// wait of the process for the network would also set a timer of the kernel, which costs a microsecond.
type Ticker struct {
	file *os.File

	mu     sync.Mutex
	fd     int  // guarded by mu
	closed bool // guarded by mu
}

// NewTicker returns a ticker that is off. Run has to be called, and returns after Close.
func NewTicker() (*Ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &Ticker{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}, nil
}

// Run calls tick until Close.
func (t *Ticker) Run(tick func()) {
	var expirations [8]byte
	for {
		if _, err := t.file.Read(expirations[:]); err != nil {
			return
		}
		tick()
	}
}

// Set turns the ticker on with a period, or off with 0.
func (t *Ticker) Set(period time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	interval := unix.NsecToTimespec(period.Nanoseconds())
	_ = unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil) // fails for wrong arguments only
}

// Close ends Run.
func (t *Ticker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	_ = t.file.Close()
}
