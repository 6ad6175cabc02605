package framing

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrInterrupted is the error of a Receive that Interrupt has ended. The connection stays open.
var ErrInterrupted = errors.New("interrupted")

type readDeadliner interface{ SetReadDeadline(time.Time) error }

// reads lets a context, or Interrupt, end the read in flight. It keeps watching a context until another one comes, so that
// a loop of Receives sets up one watch, not one for each message.
type reads struct {
	abort func() // ends the read in flight

	mu          sync.Mutex
	watch       *watch          // guarded by mu; nil: there is none
	active      bool            // guarded by mu; a read is in flight
	done        <-chan struct{} // guarded by mu; of the context of that read
	aborted     bool            // guarded by mu; that read was aborted
	interrupted bool            // guarded by mu; Interrupt was called, and no read has told it yet
}

// watch aborts reads when a context is done.
type watch struct {
	done <-chan struct{} // of the context
	stop func() bool     // gives the watch up
}

// Interrupt ends the Receive in flight, or the next one that would read, with ErrInterrupted.
func (c *Conn) Interrupt() {
	c.reads.mu.Lock()
	defer c.reads.mu.Unlock()
	c.reads.interrupted = true
	c.reads.abortLocked()
}

// read reads from the stream. When ctx or Interrupt ends the read, the error is ErrInterrupted.
func (c *Conn) read(ctx context.Context, p []byte) (int, error) {
	if !c.reads.begin(ctx) {
		return 0, ErrInterrupted
	}
	n, err := c.stream.Read(p)
	if !c.reads.end(n) {
		return n, err
	}
	if c.timed == nil || c.timed.SetReadDeadline(time.Time{}) != nil {
		c.readErr = interruption(ctx) // the stream is closed
		c.out.end(c.readErr, nil)
	}
	if n == 0 && err != nil {
		err = ErrInterrupted
	}
	return n, err
}

// interruption returns why a read was interrupted.
func interruption(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrInterrupted
}

// abort ends the read in flight.
func (c *Conn) abort() {
	past := time.Unix(1, 0)
	if c.timed == nil || c.timed.SetReadDeadline(past) != nil {
		_ = c.shut()
	}
}

func (r *reads) abortLocked() {
	if r.active {
		r.aborted = true
		r.abort()
	}
}

// begin reports whether a read may start.
func (r *reads) begin(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interrupted || ctx.Err() != nil {
		r.interrupted = false
		return false
	}
	if r.done = ctx.Done(); r.done != nil && (r.watch == nil || r.watch.done != r.done) {
		r.watchLocked(ctx)
	}
	r.active = true
	return true
}

// end reports whether the read, which has returned n bytes, was aborted.
func (r *reads) end(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	aborted := r.aborted
	r.active, r.aborted = false, false
	r.interrupted = r.interrupted && n > 0 // then the next read tells it
	return aborted
}

func (r *reads) watchLocked(ctx context.Context) {
	r.unwatchLocked()
	done := ctx.Done()
	r.watch = &watch{done: done, stop: context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.done == done {
			r.abortLocked()
		}
	})}
}

// unwatch gives the watch up.
func (r *reads) unwatch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwatchLocked()
}

func (r *reads) unwatchLocked() {
	if r.watch != nil {
		r.watch.stop()
		r.watch = nil
	}
}
