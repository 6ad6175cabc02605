// Package protocol is the protocol of the control stream between a master and a worker: typed calls over one [framing.Conn], with a
// Go struct for each request and each answer.
//
// A message is one JSON object. It begins with its kind. A request also has a number, which the answer repeats; other messages
// have none, are not answered, and are handled in the order in which they were sent. The two ends may have different versions: an
// unknown field is ignored, so is an unknown message without a number, and an unknown request is answered by an error.
package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/framing"
)

const (
	maxMessage   = 1 << 20         // bytes of one message
	sendTimeout  = 5 * time.Second // for a peer that does not read
	closeTimeout = time.Second
)

// header begins each message.
type header struct {
	Kind kind `json:"kind"`
	Seq  int  `json:"seq,omitempty"` // of a request, and of its answer
}

// failure is in an answer when the request has failed.
type failure struct {
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
}

// RemoteError is an error that the other end of a stream has returned. errors.Is finds its errno.
type RemoteError struct {
	Text  string
	Errno syscall.Errno // 0: there is none
}

// Error returns the text from the other end.
func (e *RemoteError) Error() string { return e.Text }

// Unwrap returns the errno.
func (e *RemoteError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// ErrUnlinked is the error of a request whose stream has ended.
var ErrUnlinked = fmt.Errorf("the control stream has ended: %w", net.ErrClosed)

// link is one end of a control stream. Any goroutine may tell and ask; one serves.
type link struct {
	conn  *framing.Conn
	ended chan struct{}

	mu    sync.Mutex
	seq   int
	asked map[int]*call // guarded by mu; by number
}

// call is a request that waits for its answer.
type call struct {
	into any        // the target of decoding the answer
	done chan error // gets one value, unless the stream ends before
}

func newLink(stream io.ReadWriteCloser) *link {
	opts := framing.Options{MaxMessage: maxMessage, CloseTimeout: closeTimeout}
	return &link{conn: framing.New(stream, opts), ended: make(chan struct{}), asked: make(map[int]*call)}
}

// Close ends the stream. It is idempotent.
func (l *link) Close() { _ = l.conn.Close(framing.CodeNormal, "") }

// Ended is closed when the stream is no longer served.
func (l *link) Ended() <-chan struct{} { return l.ended }

// encode returns one JSON object that holds the header and the fields of each body.
func encode(head header, bodies ...any) (json.RawMessage, error) {
	text, err := json.Marshal(head)
	for _, body := range bodies {
		fields, bodyErr := json.Marshal(body)
		if err = errors.Join(err, bodyErr); err != nil {
			return nil, err
		}
		if len(fields) > len("{}") {
			text[len(text)-1] = ','
			text = append(text, fields[1:]...)
		}
	}
	return text, err
}

func (l *link) send(head header, bodies ...any) error {
	text, err := encode(head, bodies...)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
		defer cancel()
		err = l.conn.Send(ctx, text)
	}
	if err != nil {
		return fmt.Errorf("control message %s: %w", head.Kind, err)
	}
	return nil
}

// tell sends a message without an answer. A nil error does not mean that it has arrived: for that, ask.
func (l *link) tell(k kind, what any) error { return l.send(header{Kind: k}, what) }

// ask sends a request and waits for the answer.
func ask[A any](ctx context.Context, l *link, k kind, body any) (answer A, err error) {
	c := &call{into: new(A), done: make(chan error, 1)}
	if err := l.await(ctx, k, body, c); err != nil {
		return answer, err
	}
	return *c.into.(*A), nil
}

// request is ask where the answer holds nothing but the error.
func request(ctx context.Context, l *link, k kind, what any) error {
	_, err := ask[struct{}](ctx, l, k, what)
	return err
}

func (l *link) await(ctx context.Context, k kind, body any, c *call) error {
	l.mu.Lock()
	l.seq++
	seq := l.seq
	l.asked[seq] = c
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asked, seq)
	}()
	if err := l.send(header{k, seq}, body); err != nil {
		return fmt.Errorf("%w: %w", ErrUnlinked, err)
	}
	select {
	case err := <-c.done:
		return err
	case <-l.ended:
		select {
		case err := <-c.done: // the answer was the last message
			return err
		default:
			return ErrUnlinked
		}
	case <-ctx.Done():
		return fmt.Errorf("no answer to %q: %w", k, ctx.Err())
	}
}

// handlers handle messages, by their kind.
type handlers map[kind]handler

// handler decodes a message, and returns a function that handles it.
type handler struct {
	asked  bool // it is answered, and may take its time
	decode func(framing.Message) (func(context.Context) (any, error), error)
}

// told makes a handler for messages without an answer.
func told[T any](handle func(T)) handler {
	return handler{decode: func(m framing.Message) (func(context.Context) (any, error), error) {
		var what T
		err := m.Decode(&what)
		return func(context.Context) (any, error) { handle(what); return nil, nil }, err
	}}
}

// asked makes a handler for a request.
func asked[Q, A any](answer func(context.Context, Q) (A, error)) handler {
	return handler{asked: true, decode: func(m framing.Message) (func(context.Context) (any, error), error) {
		var body Q
		err := m.Decode(&body)
		return func(ctx context.Context) (any, error) { return answer(ctx, body) }, err
	}}
}

// requested is asked for a request whose answer holds nothing but the error.
func requested[Q any](do func(context.Context, Q) error) handler {
	return asked(func(ctx context.Context, q Q) (struct{}, error) { return struct{}{}, do(ctx, q) })
}

// serve handles each message until the stream ends, and closes it: messages without an answer in order, and requests in a
// goroutine each, with a context that ends with the stream. It waits for these goroutines, and returns an error if the peer has
// broken the protocol.
func (l *link) serve(by handlers) error {
	ctx, cancel := context.WithCancel(context.Background())
	var requests sync.WaitGroup
	defer requests.Wait()
	defer cancel()
	defer close(l.ended)
	defer l.Close() // the stream may have ended before
	for {
		m, err := l.conn.Receive(context.Background())
		if _, garbage := errors.AsType[*framing.ProtocolError](err); garbage {
			return fmt.Errorf("control stream: %w", err)
		} else if err != nil {
			return nil // however it has ended
		}
		if err := l.handle(ctx, m, by, &requests); err != nil {
			return fmt.Errorf("control stream: %w", err)
		}
	}
}

func (l *link) handle(ctx context.Context, m framing.Message, by handlers, requests *sync.WaitGroup) error {
	var head header
	if err := m.Decode(&head); err != nil {
		return err
	}
	if head.Kind == kindAnswer {
		return l.deliver(head.Seq, m)
	}
	handler, known := by[head.Kind]
	switch {
	case !known && head.Seq == 0:
		return nil // of a later version
	case !known:
		handler = requested(func(context.Context, struct{}) error {
			return fmt.Errorf("the request %q is not known here", head.Kind)
		})
	case handler.asked != (head.Seq != 0):
		return fmt.Errorf("%q with the number %d", head.Kind, head.Seq)
	}
	do, err := handler.decode(m)
	if err != nil {
		return err
	}
	if !handler.asked {
		_, err := do(ctx)
		return err
	}
	requests.Go(func() { // ends when do returns, which ctx makes it do
		answer, err := do(ctx)
		var failed failure
		if err != nil {
			failed.Error = err.Error()
			if errno, ok := errors.AsType[syscall.Errno](err); ok {
				failed.Errno = int(errno)
			}
		}
		_ = l.send(header{kindAnswer, head.Seq}, answer, failed) // an error ends the link
	})
	return nil
}

// deliver passes an answer to its request.
func (l *link) deliver(seq int, m framing.Message) error {
	l.mu.Lock()
	c := l.asked[seq]
	delete(l.asked, seq)
	l.mu.Unlock()
	if c == nil {
		return nil // the request is no longer waiting
	}
	var failed failure
	if err := m.Decode(&failed); err != nil {
		return err
	}
	if failed.Error != "" {
		c.done <- &RemoteError{failed.Error, syscall.Errno(failed.Errno)}
		return nil
	}
	if err := m.Decode(c.into); err != nil {
		return err
	}
	c.done <- nil
	return nil
}
