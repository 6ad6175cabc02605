package bus

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/framing"
)

const (
	// maxIdle is how many workers of a link wait for the next message. Waking one takes a fraction of the time of starting
	// one, whose stack has to grow first.
	maxIdle = 2
	// maxText is the length of the longest text of a failure, in bytes.
	maxText = 4 << 10
)

// workers are the goroutines of a link that call handlers.
type workers struct {
	running *sync.WaitGroup // counts them
	work    chan *inbox     // to a worker that is idle; closed by the reader at its end
	idle    atomic.Int32    // workers that wait on work
}

// start hands an inbox to a worker.
func (w *workers) start(in *inbox) {
	select {
	case w.work <- in:
	default:
		w.launch(in)
	}
}

func (w *workers) launch(in *inbox) {
	w.running.Go(func() { w.run(in) }) // ends with the inbox empty, or with the link
}

// run hands out what is in inboxes, one after the other.
func (w *workers) run(in *inbox) {
	defer func() {
		if in != nil { // a handler has called runtime.Goexit
			w.launch(in)
		}
	}()
	for in != nil {
		in.runTimed()
		in = w.next()
	}
}

// next returns the next inbox to work on, nil at the end.
func (w *workers) next() *inbox {
	defer w.idle.Add(-1)
	if w.idle.Add(1) > maxIdle {
		return nil
	}
	return <-w.work
}

// runTimed is run, and learns whether the handler is quick.
func (in *inbox) runTimed() {
	start := time.Now()
	calls := in.run()
	in.queue.judge(calls, time.Since(start))
}

// run handles all that is in the inbox, and returns how many messages that were.
func (in *inbox) run() (calls int) {
	if in.before != nil {
		<-in.before
		in.before = nil
	}
	for more := true; more; more = in.queue.next() {
		for !in.queue.isBatchDone() {
			calls += in.handle()
		}
	}
	return calls
}

// handle handles messages until none is left or a handler has panicked, and returns how many.
func (in *inbox) handle() (calls int) {
	in.sub.calls.RLock()
	defer in.sub.calls.RUnlock()
	var m message
	var size int
	calling := false
	defer func() {
		if calling {
			in.panicked(m, size, recover())
		}
	}()
	for !in.queue.isBatchDone() {
		frame := in.queue.pop()
		size = len(frame)
		m = unpack(frame)
		if in.sub.closed.Load() {
			in.link.discard(m)
			continue
		}
		calls++
		calling = true
		answer, err := in.call(m)
		calling = false
		in.finish(m, size, answer, err)
	}
	return calls
}

// unpack reads a message that was right when it came.
func unpack(frame []byte) message {
	if _, typ, data, ok := published(frame); ok {
		return message{kind: kindPublish, typ: typ, data: data}
	}
	m, _ := parse(frame)
	return m
}

// call calls the handler.
func (in *inbox) call(m message) (any, error) {
	ctx := in.sub.ctx
	if m.kind == kindRequest {
		ctx = in.requests
	}
	return in.sub.handler(ctx, Message{
		From:    in.link.peer,
		Topic:   in.sub.topic,
		Message: framing.Message{Type: m.typ, Data: m.data},
	})
}

// finish tells the peer that a message has been handled.
func (in *inbox) finish(m message, size int, answer any, err error) {
	if m.kind == kindRequest {
		in.credit.freed.Add(int64(size)) // the answer gives the peer its room back
		in.link.answer(m.number, answer, err)
		return
	}
	if err != nil {
		in.link.counts.errors.Add(1)
		in.link.hub.opts.Logger.Warn("a subscriber has failed", "topic", in.sub.topic, "from", in.link.peer.ID, "error", err)
	}
	in.handled(size)
}

// panicked handles the panic v of a handler, or, when v is nil, the end of its goroutine.
func (in *inbox) panicked(m message, size int, v any) {
	text := fmt.Sprintf("panic: %v", v)
	if v == nil {
		text = "the handler has called runtime.Goexit"
	}
	l := in.link
	l.counts.panics.Add(1)
	l.hub.opts.Logger.Error("a subscriber has panicked", "topic", in.sub.topic, "from", l.peer.ID, "panic", text, "stack", string(debug.Stack()))
	var err error
	if m.kind == kindRequest {
		err = fmt.Errorf("%s", text)
	}
	in.finish(m, size, nil, err)
}

// answer sends the answer to a request. It waits for room in the queue, but not beyond the end of the link.
func (l *link) answer(number uint64, answer any, failure error) {
	if failure == nil {
		if failure = l.reply(number, answer); failure == nil {
			return
		}
	}
	l.counts.errors.Add(1)
	text := strings.ToValidUTF8(failure.Error(), "\uFFFD")
	m := message{kind: kindFailure, number: number, reason: reasonError, data: []byte(text[:min(len(text), maxText)])}
	_ = l.send(m) // its error is the end of the link, which the requester sees too
}

func (l *link) reply(number uint64, answer any) error {
	value := framing.Message{Type: framing.Binary}
	if answer != nil {
		var err error
		if value, err = framing.MessageOf(answer); err != nil {
			return fmt.Errorf("the answer cannot be sent: %w", err)
		}
	}
	return l.send(message{kind: kindAnswer, number: number, typ: value.Type, data: value.Data})
}

// send sends an answer.
func (l *link) send(m message) error {
	var head [maxHead]byte
	bound := framing.Bound{Queue: boundAnswers}
	return l.conn.SendParts(context.Background(), bound, framing.Binary, m.appendHead(head[:0]), m.data)
}
