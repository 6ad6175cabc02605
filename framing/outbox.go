package framing

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// patience is how long a Send lets the stream hold it, up to twice as long, before a goroutine takes its write over.
	// A deadline is set anew only when less is left, since that costs as much as the rest of a Send.
	patience = time.Millisecond
	// burstGap is the pause between two writes below which the second is left to a goroutine, so that what is sent
	// meanwhile goes with it.
	burstGap = 5 * time.Microsecond
	// answerGap is the same when something has arrived since. On a fast machine an answer comes back over a Unix socket
	// in about burstGap, and to leave the next question to a goroutine would cost an eighth of the round trip.
	answerGap = time.Microsecond
	// smallBatch is the size of a write, in bytes, after which others get a chance to add to the next one.
	smallBatch = 1 << 10
)

// writeDeadliner is a stream of the kernel's, whose Write goes on where a time-out has ended it. That of a tls.Conn does
// not: it is broken then.
type writeDeadliner interface {
	syscall.Conn
	SetWriteDeadline(time.Time) error
}

// trier is a stream that can write what it takes at once, which may be nothing, without an error then.
type trier interface {
	TryWrite(p []byte) (n int, err error)
}

// outbox is the queue of frames on their way to the stream. Frames are added under the lock and written, all that are
// there in one write, with the lock released, so that a stream that stalls does not keep those who can still add.
//
// There is one writer at a time: the goroutine that finds nobody writing, for a single write of bounded time, or one
// that is started for the rest and ends with the queue empty.
type outbox struct {
	stream   io.Writer
	try      trier          // nil when the stream is none
	deadline writeDeadliner // nil when the stream is none, or a trier
	limit    int            // bytes in queue from which on a put without a bound of its own waits
	failed   chan struct{}  // closed when err is set
	drained  chan struct{}  // closed when err is set and nobody writes any more
	runs     func()         // run; a go statement with a method would allocate each time
	epoch    time.Time      // time.Since reads one clock, time.Now two, and a Send looks twice

	heard atomic.Bool // something has arrived since the last write was begun

	batch []byte    // what is being written; the writer's, who changes it with mu held
	rest  []byte    // the part of batch that is not yet written; the writer's
	until time.Time // the write deadline; the writer's

	mu      sync.Mutex
	queue   []byte
	spare   []byte // empty, to be the next queue
	pong    []byte // the answer to the last ping, not in queue so that a flood of pings cannot fill it
	writing bool
	idle    time.Duration // when the last writer ended, since epoch
	room    room
	err     error // nothing is added any more
}

func newOutbox(stream io.Writer, limit int) *outbox {
	o := &outbox{stream: stream, limit: limit, failed: make(chan struct{}), drained: make(chan struct{}), epoch: time.Now()}
	if o.try, _ = stream.(trier); o.try == nil {
		o.deadline, _ = stream.(writeDeadliner)
	}
	o.runs = o.run
	return o
}

// put adds a frame, which may be given in parts: its header and its payload in up to two.
func (o *outbox) put(ctx context.Context, bound Bound, header, head, body []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := bound.Queue
	if limit <= 0 {
		limit = o.limit
	}
	o.mu.Lock()
	if o.err == nil && len(o.queue)+o.room.reserved >= limit {
		err := ErrQueueFull
		if !bound.Fail {
			err = o.waitLocked(ctx, limit, len(header)+len(head)+len(body))
		}
		if err != nil {
			o.mu.Unlock()
			return err
		}
	}
	if err := o.err; err != nil {
		o.mu.Unlock()
		return err
	}
	o.queue = append(append(append(o.queue, header...), head...), body...)
	o.startAndUnlock()
	return nil
}

// size returns how many bytes are in the queue or in the batch, which counts until all of it is written.
func (o *outbox) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue) + len(o.pong) + len(o.batch)
}

// answer adds a pong, in place of one that is still to be written (RFC 6455, section 5.5.3).
func (o *outbox) answer(ping []byte) {
	o.mu.Lock()
	if o.err != nil {
		o.mu.Unlock()
		return
	}
	o.pong = AppendFrame(o.pong[:0], Pong, ping)
	o.startAndUnlock()
}

// end adds a last frame, which may be nil, and refuses all that come later with err.
func (o *outbox) end(err error, last []byte) {
	o.mu.Lock()
	if o.err != nil {
		o.mu.Unlock()
		return
	}
	o.err = err
	close(o.failed)
	o.queue, o.pong = append(o.queue, last...), nil
	o.startAndUnlock()
}

// startAndUnlock sees to it that somebody writes.
func (o *outbox) startAndUnlock() {
	if o.writing {
		o.mu.Unlock()
		return
	}
	o.writing = true
	gap := burstGap
	if o.heard.Swap(false) {
		gap = answerGap
	}
	burst := time.Since(o.epoch)-o.idle < gap
	o.mu.Unlock()
	if burst || !o.writeNow() {
		go o.runs() // ends with the queue empty or the stream closed; Close waits for it by drained
	}
}

// writeNow is the writer for one write. It returns false when there is more to be done.
func (o *outbox) writeNow() bool {
	if !o.canWriteNow() {
		return false
	}
	if !o.next() {
		return true
	}
	if done, err := o.writeOnce(); err != nil {
		o.fail(err)
		return true
	} else if !done {
		return false
	}
	return !o.next()
}

// canWriteNow sees to it that a write cannot take long.
func (o *outbox) canWriteNow() bool {
	if o.try != nil || o.deadline == nil {
		return o.try != nil
	}
	now := time.Now()
	if o.until.Sub(now) >= patience {
		return true
	}
	o.until = now.Add(2 * patience)
	return o.deadline.SetWriteDeadline(o.until) == nil
}

// writeOnce writes what the stream takes in bounded time, and reports whether that was all.
func (o *outbox) writeOnce() (done bool, err error) {
	if o.try == nil {
		if err = o.write(); isTimeout(err) {
			return false, nil
		}
		return true, err
	}
	n, err := o.try.TryWrite(o.rest)
	o.rest = o.rest[n:]
	return len(o.rest) == 0, err
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// run is the writer until there is nothing to write.
func (o *outbox) run() {
	if o.deadline != nil {
		o.until = time.Time{}
		_ = o.deadline.SetWriteDeadline(o.until) // if that fails, so does Write
	}
	for more := true; more; more = o.next() {
		if err := o.write(); err != nil {
			o.fail(err)
			return
		}
		if len(o.batch) < smallBatch {
			runtime.Gosched()
		}
	}
}

// write writes the rest of the batch, or what the stream takes of it.
func (o *outbox) write() error {
	if len(o.rest) == 0 {
		return nil
	}
	n, err := o.stream.Write(o.rest)
	o.rest = o.rest[n:]
	return err
}

// next makes the queue the batch. When there is nothing to write it returns false, and the caller is no longer the
// writer.
func (o *outbox) next() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.batch != nil && cap(o.batch) <= maxSpare+o.limit {
		o.spare = o.batch[:0]
	}
	o.batch = nil
	if o.queue = append(o.queue, o.pong...); len(o.queue) == 0 {
		o.stopLocked()
		return false
	}
	o.pong = o.pong[:0]
	o.batch, o.queue, o.spare = o.queue, o.spare, nil
	o.rest = o.batch
	o.room.admit()
	return true
}

// fail ends the outbox after an error of the stream. The caller is no longer the writer.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
		close(o.failed)
	}
	o.queue, o.spare, o.batch, o.rest = nil, nil, nil, nil
	o.stopLocked()
}

func (o *outbox) stopLocked() {
	o.writing = false
	o.idle = time.Since(o.epoch)
	if o.err != nil {
		close(o.drained)
	}
}

// cause returns why the outbox has ended.
func (o *outbox) cause() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
