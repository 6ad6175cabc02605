package framing

import (
	"context"
	"errors"
	"sync"
	"time"
)

type readDeadliner interface{ SetReadDeadline(time.Time) error }

// errInterrupted is the error of a read that a context has ended.
var errInterrupted = errors.New("interrupted")

// watch ends the reads of a connection when a context is done. It serves all calls that come with the same context, so
// that a loop of Receives sets one up, not one for each message.
type watch struct {
	done <-chan struct{} // of the context
	stop func() bool     // gives the watch up

	mu      sync.Mutex
	fired   bool // the context is done
	reading bool // a read is in flight, which fired must interrupt
}

// read reads from the stream. When ctx ends the read, the error is errInterrupted.
func (c *Conn) read(ctx context.Context, p []byte) (int, error) {
	if ctx.Done() == nil {
		return c.stream.Read(p)
	}
	w := c.watchFor(ctx)
	if !w.begin() {
		return 0, errInterrupted
	}
	n, err := c.stream.Read(p)
	if !w.end() {
		return n, err
	}
	if c.timed == nil || c.timed.SetReadDeadline(time.Time{}) != nil {
		c.readErr = ctx.Err() // the stream is closed
		c.out.end(c.readErr, nil)
	}
	if n == 0 && err != nil {
		err = errInterrupted
	}
	return n, err
}

// watchFor returns the watch for ctx, the last one if that was for ctx too.
func (c *Conn) watchFor(ctx context.Context) *watch {
	if c.watch != nil && c.watch.done == ctx.Done() {
		return c.watch
	}
	c.unwatch()
	w := &watch{done: ctx.Done()}
	w.stop = context.AfterFunc(ctx, func() { w.fire(c.interrupt) })
	c.watch = w
	return w
}

// unwatch ends the last watch. If it fires at this moment, it finds no read to interrupt.
func (c *Conn) unwatch() {
	if c.watch != nil {
		c.watch.stop()
		c.watch = nil
	}
}

// interrupt ends the read in flight.
func (c *Conn) interrupt() {
	past := time.Unix(1, 0)
	if c.timed == nil || c.timed.SetReadDeadline(past) != nil {
		_ = c.shut()
	}
}

func (w *watch) fire(interrupt func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fired = true
	if w.reading {
		interrupt()
	}
}

// begin reports whether a read may start.
func (w *watch) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading = !w.fired
	return w.reading
}

// end says that the read has returned, and reports whether it was interrupted.
func (w *watch) end() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading = false
	return w.fired
}
