package framing

import (
	"context"
	"errors"
	"io"
)

// Receive returns the next message. It waits until one is there, ctx is done, or the connection ends, and answers pings
// meanwhile. Data belong to the connection and are good until the next Receive, so that goroutines that take turns must
// copy them before they let the next one in.
//
// When ctx ends a Receive, no message is lost and the connection stays open, if the stream has the SetReadDeadline of a
// net.Conn. Otherwise only a close of the stream can end a Read, and the connection ends with the error of ctx. Nothing is
// allocated for a message of usual size, a few small objects for another context than that of the Receive before.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	m, err := c.receive(ctx)
	return m, c.failure("receive", err)
}

// Serve receives messages and calls handle with each, one after the other, until handle returns an error or Receive
// would; it returns that error, which is never nil. Data are good until handle returns. Handle may call each method of
// the connection except Ping, whose pong could not be received.
func (c *Conn) Serve(ctx context.Context, handle func(Message) error) error {
	for {
		m, err := c.Receive(ctx)
		if err != nil {
			return err
		}
		if err := handle(m); err != nil {
			return err
		}
	}
}

// ReceiveBatch waits for a message as Receive does, and calls handle with it and with each further one that is there
// without another read, so that the caller can do what follows once for all of them. It returns nil after the last one, or
// the first error of handle; later messages are left for the next call. Data are good until handle returns. Handle may send,
// but neither receive, nor ping, nor close the connection.
func (c *Conn) ReceiveBatch(ctx context.Context, handle func(Message) error) error {
	if err := c.hold(ctx); err != nil {
		return c.failure("receive", err)
	}
	defer c.release()
	m, err := c.next(ctx)
	if err != nil {
		return c.failure("receive", err)
	}
	for ok := true; ok; m, ok = c.ready() {
		if err := handle(m); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) receive(ctx context.Context) (Message, error) {
	if err := c.hold(ctx); err != nil {
		return Message{}, err
	}
	defer c.release()
	return c.next(ctx)
}

// hold makes the caller the receiver.
func (c *Conn) hold(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.receiving.take(ctx); err != nil {
		return err
	}
	if c.closing.Load() {
		c.release()
		return io.ErrClosedPipe
	}
	return nil
}

func (c *Conn) release() { c.receiving.give() }

// next returns the next message, and handles the control frames before it. The caller holds receiving.
func (c *Conn) next(ctx context.Context) (Message, error) {
	for {
		if m, ok := c.ready(); ok {
			return m, nil
		}
		if c.readErr != nil {
			return Message{}, c.readErr
		}
		if err := c.fill(ctx); err != nil {
			return Message{}, err
		}
	}
}

// ready returns the next message if it has arrived, and handles the control frames before it. The caller holds receiving.
func (c *Conn) ready() (Message, bool) {
	for c.readErr == nil {
		m, ok, err := c.decoder.Next()
		switch {
		case err != nil:
			c.refuse(err)
		case !ok:
			return Message{}, false
		case m.Type.isControl():
			c.control(m)
		default:
			return m, true
		}
	}
	return Message{}, false
}

// fill reads more bytes. It returns an error if ctx has ended the read; those of the stream go to readErr.
func (c *Conn) fill(ctx context.Context) error {
	n, err := c.read(ctx, c.decoder.Buffer())
	c.decoder.Advance(n)
	if n > 0 {
		c.out.heard.Store(true)
	}
	switch {
	case n > 0 || err == nil:
		return nil // an error comes again
	case errors.Is(err, ErrInterrupted):
		return interruption(ctx)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // a close frame comes first
	}
	c.readErr = err
	c.out.end(err, nil)
	return nil
}

// control handles a control frame.
func (c *Conn) control(m Message) {
	switch m.Type {
	case Ping:
		c.out.answer(m.Data)
	case Pong:
		c.pings.answered(m.Data)
	default:
		closed, _ := parseClose(m.Data) // the decoder has checked it
		c.readErr = closed
		c.out.end(closed, appendClose(nil, closed.Code, "")) // section 5.5.1: the code comes back
	}
}

// refuse ends the connection with the code for what the peer has sent.
func (c *Conn) refuse(err error) {
	c.readErr = err
	if violation, ok := errors.AsType[*ProtocolError](err); ok {
		c.out.end(err, appendClose(nil, violation.Code, violation.Err.Error()))
	}
}
