package framing

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Send sends a value: a []byte as a Binary, as it is; a json.RawMessage as a Text, as it is; a Message as SendMessage
// does; anything else as a Text that holds its JSON.
//
// When Send returns nil, the message is in the queue and will be sent whole, unless the connection ends before; the value
// may be changed. Any error other than that of an ended connection means that nothing of the message is sent, and that the
// connection stays open: that of ctx, which ends the wait for room in the queue, that of json.Marshal, and ErrTooBig.
//
// To know that the peer has received what was sent, call Ping.
func (c *Conn) Send(ctx context.Context, v any) error {
	m, err := encode(v)
	if err != nil {
		return fmt.Errorf("framing: send: %w", err)
	}
	return c.put(ctx, Bound{}, m.Type, m.Data, nil)
}

// SendMessage sends a Text, which must be UTF-8, or a Binary, as Send does. It allocates nothing.
func (c *Conn) SendMessage(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("framing: send: %w", err)
	}
	return c.put(ctx, Bound{}, m.Type, m.Data, nil)
}

// SendEncoded sends a message that Encode has made, as Send does. It allocates nothing.
func (c *Conn) SendEncoded(ctx context.Context, e Encoded) error {
	if e.frame == nil {
		return errors.New("framing: send: Encoded without a message")
	}
	if e.size > c.opts.MaxMessage {
		return fmt.Errorf("framing: send: %w", ErrTooBig)
	}
	return c.failure("send", c.out.put(ctx, Bound{}, e.frame, nil, nil))
}

// Bound says what a message does when much is in the queue, so that some classes of messages still get in where others
// wait: answers, say, with a larger Queue than the messages that they answer. The zero value does what Send does.
type Bound struct {
	// Queue is the length of the queue, in bytes, from which on the message waits; what is being written does not count.
	// It may be smaller or larger than Options.MaxQueue. Default: Options.MaxQueue.
	Queue int
	// Fail gives ErrQueueFull where the message would wait.
	Fail bool
}

// SendParts sends one message, a Text or a Binary, whose data are head followed by body, as Send does. It allocates
// nothing, and does not join the two before. A Text must be UTF-8 as a whole; head may end within a character.
func (c *Conn) SendParts(ctx context.Context, bound Bound, t Type, head, body []byte) error {
	if err := checkData(t, head, body); err != nil {
		return fmt.Errorf("framing: send: %w", err)
	}
	return c.put(ctx, bound, t, head, body)
}

// Queued returns how many bytes wait in the queue or are being written. What is written at once counts as a whole until
// the stream has taken all of it.
func (c *Conn) Queued() int { return c.out.size() }

func (c *Conn) put(ctx context.Context, bound Bound, t Type, head, body []byte) error {
	size := len(head) + len(body)
	if size > c.opts.MaxMessage {
		return fmt.Errorf("framing: send: %w", ErrTooBig)
	}
	var header [maxHeader]byte
	return c.failure("send", c.out.put(ctx, bound, appendHeader(header[:0], t, size), head, body))
}

// failure gives err the form in which it leaves the package.
func (c *Conn) failure(op string, err error) error {
	if err == nil {
		return nil
	}
	if c.closing.Load() {
		err = io.ErrClosedPipe
	}
	return fmt.Errorf("framing: %s: %w", op, err)
}
