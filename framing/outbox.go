package framing

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// burstGap is the pause between two writes below which the second is left to a goroutine, so that what is sent
	// meanwhile goes with it. When something has arrived since the last write, it is no burst: on a fast machine an answer
	// comes back over a Unix socket in about burstGap, and to leave the next question to a goroutine would cost an eighth
	// of the round trip.
	burstGap = 5 * time.Microsecond
	// notTimed is the time of the end of a writer which has not looked at the clock. Two looks for each question and two for
	// its answer are a sixtieth of the round trip.
	notTimed = -1
	// smallBatch is the size of a write, in bytes, after which others get a chance to add to the next one.
	smallBatch = 1 << 10
)

// outbox is the queue of frames on their way to the stream. Frames are added under the lock, and written, all in one write,
// with the lock released, so that a stream that stalls does not keep senders from adding.
//
// There is one writer at a time: a sender that finds no writer, for a single write that does not wait, or a goroutine that
// is started for the rest and ends with the queue empty.
type outbox struct {
	stream  io.Writer
	try     *trier        // over stream; nil: there is none
	limit   int           // bytes in queue from which on a put without a bound of its own waits
	failed  chan struct{} // closed when err is set
	drained chan struct{} // closed when err is set and there is no writer
	runs    func()        // run; a go statement with a method would allocate each time
	epoch   time.Time     // time.Since reads one clock, time.Now two, and a Send looks twice

	heard atomic.Bool // something has arrived since the last write was begun

	batch []byte // what is being written; the writer's, who changes it with mu held
	rest  []byte // the part of batch that is not yet written; the writer's

	mu      sync.Mutex
	queue   []byte
	spare   []byte // empty, to be the next queue
	pong    []byte // the answer to the last ping, not in queue so that a flood of pings cannot fill it
	writing bool
	idle    time.Duration // when the last writer ended, since epoch, or notTimed
	room    room
	err     error // no frame is added once it is set
}

func newOutbox(stream io.Writer, limit int) *outbox {
	o := &outbox{
		stream: stream, try: trierOf(stream), limit: limit,
		failed: make(chan struct{}), drained: make(chan struct{}), epoch: time.Now(),
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

// answer adds a pong, in place of a pong that is not written yet (RFC 6455, section 5.5.3).
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

// startAndUnlock starts a writer if there is none.
func (o *outbox) startAndUnlock() {
	if o.writing {
		o.mu.Unlock()
		return
	}
	o.writing = true
	burst := false
	if o.heard.Swap(false) {
		o.idle = notTimed
	} else {
		burst = o.idle != notTimed && time.Since(o.epoch)-o.idle < burstGap
		o.idle = 0
	}
	o.mu.Unlock()
	if burst || !o.writeNow() {
		go o.runs() // ends with the queue empty or the stream closed; Close waits for it by drained
	}
}

// writeNow is the writer for one write, if that need not wait. It returns false when there is more to be done.
func (o *outbox) writeNow() bool {
	if o.try == nil {
		return false
	}
	if !o.next() {
		return true
	}
	n, err := o.try.write(o.rest)
	o.rest = o.rest[n:]
	switch {
	case err != nil:
		o.fail(err)
		return true
	case len(o.rest) > 0:
		return false
	}
	return !o.next()
}

// run is the writer until there is nothing to write.
func (o *outbox) run() {
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
	if o.idle != notTimed {
		o.idle = time.Since(o.epoch)
	}
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
