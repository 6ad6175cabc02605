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
// the protocol; then the stream is closed, whichever side has dialed. All this takes at most Options.CloseTimeout. Calls in
// flight end with it, and no goroutine of the connection runs after it.
//
// CodeNone sends neither code nor reason. A code that may not be sent becomes CodeInternal, and a reason is cut after
// 123 bytes. The code means nothing when the connection has ended before.
//
// The error says why the handshake was not completed (context.DeadlineExceeded: it took too long), or what ended the
// connection before; the stream is closed in each case. It is nil if the peer was the first to close. Further calls wait for
// the first one and return its error.
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

// hearOut receives until the end of the messages of the peer. It returns nil if that was a close frame.
func (c *Conn) hearOut() error {
	_ = c.receiving.take(context.Background()) // a Receive in flight ends with what the peer sends next, or the stream
	defer c.receiving.give()
	c.reads.unwatch()
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

// hearAnswer reads after a violation until the peer has answered our close frame, or the stream ends. It returns false
// if the stream has ended. A TCP connection that is closed with bytes unread is reset, which can destroy our close frame on
// its way. The answer ends the connection at once (section 7.1.1), as does a close frame of the peer that was itself the
// violation: the peer sends no other.
//
// The start of the next frame is unknown here. But nothing may follow a close frame, and the peer answers when it has
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
