package framing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Close ends the connection with the closing handshake (RFC 6455, section 7): what is in the queue is sent, then a close
// frame with the code and the reason; what the peer sends before its own close frame is dropped; then the stream is
// closed. All this takes no longer than Options.CloseTimeout. Calls in flight end with it, and when it returns, nothing
// of the connection runs any more.
//
// CodeNone sends neither code nor reason. A code that may not be sent becomes CodeInternal, and a reason is cut after
// 123 bytes. The code means nothing when the connection has ended before.
//
// The error says why the handshake was not completed, context.DeadlineExceeded that it took too long, or what has ended
// the connection before; the stream is closed all the same. It is nil if the peer was the first to close. Each further
// call waits for the first one and returns its error.
func (c *Conn) Close(code Code, reason string) error {
	c.closeOnce.Do(func() {
		if err := c.close(code, reason); err != nil {
			c.closeErr = fmt.Errorf("framing: close: %w", err)
		}
	})
	return c.closeErr
}

func (c *Conn) close(code Code, reason string) error {
	c.closing.Store(true)
	expired := make(chan struct{})
	timer := time.AfterFunc(c.opts.CloseTimeout, func() {
		_ = c.shut() // ends the Read and the Write in flight; the error comes again below
		close(expired)
	})
	if code != CodeNone && !code.onWire() {
		code = CodeInternal
	}
	c.out.end(io.ErrClosedPipe, appendClose(nil, code, reason))
	err := c.hearOut()
	if err != nil {
		_ = c.shut() // nobody reads what is still being written
	}
	<-c.out.drained
	if !timer.Stop() {
		<-expired
		return context.DeadlineExceeded
	}
	return errors.Join(err, c.shut())
}

// hearOut receives until the peer has nothing more to say. It returns nil if the peer has said so by a close frame.
func (c *Conn) hearOut() error {
	_ = c.receiving.take(context.Background()) // a Receive in flight ends with what the peer sends next, or the stream
	defer c.receiving.give()
	c.unwatch()
	c.decoder.detach() // a message may still be in use
	for c.readErr == nil {
		_, _ = c.next(context.Background())
	}
	if _, ok := errors.AsType[*ProtocolError](c.readErr); ok {
		// Closed with bytes unread, a TCP connection is reset, which can destroy our close frame on its way.
		_, _ = io.Copy(io.Discard, c.stream)
	}
	if _, ok := errors.AsType[*CloseError](c.readErr); ok {
		return nil
	}
	return c.readErr
}
