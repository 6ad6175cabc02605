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
// When Send returns nil, the message has its place in the queue and will be sent whole, unless the connection ends
// before; the value may be changed. When it returns another error than that of an ended connection, nothing of the
// message is sent, and the connection goes on. So it is when ctx is done, which ends the wait for room in the queue;
// a stream that stalls keeps Send for about two milliseconds. Other errors are those of json.Marshal, and ErrTooBig.
//
// To know that the peer has received what was sent, call Ping.
func (c *Conn) Send(ctx context.Context, v any) error {
	m, err := encode(v)
	if err != nil {
		return fmt.Errorf("framing: send: %w", err)
	}
	return c.put(ctx, m)
}

// SendMessage sends a Text, which must be UTF-8, or a Binary, as Send does. It allocates nothing.
func (c *Conn) SendMessage(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("framing: send: %w", err)
	}
	return c.put(ctx, m)
}

// SendEncoded sends a message that Encode has made, as Send does. It allocates nothing.
func (c *Conn) SendEncoded(ctx context.Context, e Encoded) error {
	if e.frame == nil {
		return errors.New("framing: send: Encoded without a message")
	}
	if e.size > c.opts.MaxMessage {
		return fmt.Errorf("framing: send: %w", ErrTooBig)
	}
	return c.failure("send", c.out.put(ctx, e.frame, nil))
}

func (c *Conn) put(ctx context.Context, m Message) error {
	if len(m.Data) > c.opts.MaxMessage {
		return fmt.Errorf("framing: send: %w", ErrTooBig)
	}
	var head [maxHeader]byte
	return c.failure("send", c.out.put(ctx, appendHeader(head[:0], m.Type, len(m.Data)), m.Data))
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
