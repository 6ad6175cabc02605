package framing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Close ends the connection with the closing handshake (RFC 6455, section 7): what is in the queue is sent, then a close
// frame with the code and the reason; what the peer sends before its own close frame is dropped, also after a violation of
// the protocol; then the stream is closed, whichever side has dialed. All this takes no longer than Options.CloseTimeout. Calls in flight end with it, and when it returns, nothing
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
	if _, ok := errors.AsType[*CloseError](c.readErr); ok {
		return nil
	}
	if _, ok := errors.AsType[*ProtocolError](c.readErr); !ok || !c.hearAnswer() {
		_ = c.shut() // the stream has ended: what is still being written has no reader
	}
	return c.readErr
}

// hearAnswer reads on after a violation until the peer has answered our close frame, or the stream ends. It returns false
// if the stream has ended. Closed with bytes unread, a TCP connection is reset, which can destroy our close frame on its
// way. With the answer it is over at once (section 7.1.1), and so it is when the peer's own close frame was the
// violation: the peer sends no other.
//
// Where a frame begins is not known any more. But nothing may follow a close frame, and the peer answers when it has
// received ours, so the answer is the end of what has arrived.
func (c *Conn) hearAnswer() bool {
	broken, rest := c.decoder.failed()
	if broken == Close {
		return true
	}
	buf := make([]byte, maxBuffer)
	w := copy(buf, tail(rest))
	for !endsWithClose(buf[:w]) {
		w = copy(buf, tail(buf[:w]))
		n, err := c.stream.Read(buf[w:])
		w += n
		if err != nil && n == 0 {
			return false
		}
	}
	return true
}

// maxClose is the longest close frame, with a mask.
const maxClose = 2 + 4 + maxControl

// tail returns the end of b in which a close frame may be.
func tail(b []byte) []byte { return b[max(0, len(b)-maxClose):] }

// endsWithClose reports whether the last bytes of b are a valid close frame.
func endsWithClose(b []byte) bool {
	b = tail(b)
	for i := range b {
		if b[i] != finBit|byte(Close) {
			continue
		}
		h, n, err := parseHeader(b[i:])
		if err != nil || n == 0 || i+n+int(h.length) != len(b) { //nolint:gosec // G115: at most maxControl
			continue
		}
		payload := bytes.Clone(b[i+n:])
		if h.masked {
			unmask(payload, h.key, 0)
		}
		if _, err := parseClose(payload); err == nil {
			return true
		}
	}
	return false
}
