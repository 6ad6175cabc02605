package node

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Life is a node's, from its start to its end.
type Life struct {
	started chan struct{} // closed when the node is complete: orders may arrive before
	begun   chan struct{}
	hurried chan struct{}
	done    chan struct{}
	deaf    chan struct{} // closed when it takes signals no longer
	hurry   sync.Once
	err     error             // readable after done
	leave   func(cause error) // ends the node

	mu       sync.Mutex
	stopping context.Context    // of the stop; nil before it began; guarded by mu
	cut      context.CancelFunc // ends the patience of the stop; guarded by mu
	raise    os.Signal          // with which the process is to end; guarded by mu
}

func newLife(leave func(cause error)) *Life {
	return &Life{
		started: make(chan struct{}), begun: make(chan struct{}), hurried: make(chan struct{}), done: make(chan struct{}),
		deaf: make(chan struct{}), leave: leave,
	}
}

// Begun is closed when the stop begins.
func (l *Life) Begun() <-chan struct{} { return l.begun }

// Hurried is closed when the stop is to take no more time.
func (l *Life) Hurried() <-chan struct{} { return l.hurried }

// Done is closed when the node has ended.
func (l *Life) Done() <-chan struct{} { return l.done }

// Wait waits until the node has ended. It returns the reason, or what was cut.
func (l *Life) Wait() error {
	<-l.done
	return l.err
}

// Stop begins to end the node, for the reason cause; nil is a wish. Only the first call counts.
func (l *Life) Stop(cause error, timeout time.Duration) { l.stopAfter(func() {}, cause, timeout) }

// StopAfter begins to end the node once first has returned. If the stop has begun already it returns false, and does not call
// first.
func (l *Life) StopAfter(first func(), timeout time.Duration) bool {
	return l.stopAfter(first, nil, timeout)
}

func (l *Life) stopAfter(first func(), cause error, timeout time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping != nil {
		return false
	}
	first()
	l.stopping, l.cut = context.WithTimeout(context.Background(), timeout)
	close(l.begun)
	go l.leave(cause) // ends within the time-out plus what killing takes; Wait waits for it
	return true
}

// IsStopping reports whether the stop has begun.
func (l *Life) IsStopping() bool { return l.Stopping() != nil }

// Stopping returns the context of the stop, which is done when the time for it is over; nil before it began.
func (l *Life) Stopping() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopping
}

// Hurry cuts what a stop is still waiting for.
func (l *Life) Hurry() {
	l.hurry.Do(func() { close(l.hurried) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut != nil {
		l.cut()
	}
}

// GiveUp takes Start back, in a node that has done nothing else. When it returns, the signals are the program's again.
func (l *Life) GiveUp() {
	l.mu.Lock()
	isStopped := l.stopping != nil // a signal has begun to stop it
	if !isStopped {
		l.stopping, l.cut = context.WithCancel(context.Background())
		l.cut()
		close(l.begun)
		close(l.done)
	}
	l.mu.Unlock()
	if !isStopped {
		<-l.deaf
	}
}

// endStop ends the time of the stop. It returns the signal with which the process is to end, nil if by itself.
func (l *Life) endStop() os.Signal {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut()
	return l.raise
}

const (
	// killTimeout bounds how long a node takes to end after the second signal, should a part of it hang: a master that ends
	// earlier leaves processes behind which it has not killed, and on a busy machine it may get no CPU for seconds.
	killTimeout = 30 * time.Second
	// raiseTimeout bounds how long a signal to the own process takes.
	raiseTimeout = 2 * time.Second
)

// kill ends the process at once with sig, as if it had never been caught; on the master the workers first.
func (l *Life) kill(sig os.Signal) {
	l.mu.Lock()
	l.raise = sig
	l.mu.Unlock()
	l.Hurry()
	select {
	case <-l.done: // it had ended before it saw the signal
	case <-time.After(killTimeout):
	}
	raiseSignal(sig)
}

// raiseSignal ends this process with sig, and by exit where the signal does not: for process 1 the kernel has no
// default action.
func raiseSignal(sig os.Signal) {
	signal.Reset(sig)
	number, ok := sig.(syscall.Signal)
	if !ok {
		os.Exit(1)
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil && self.Signal(sig) == nil && os.Getpid() != 1 {
		time.Sleep(raiseTimeout) // the signal is on its way
	}
	os.Exit(128 + int(number))
}
