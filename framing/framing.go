// Package framing sends and receives messages over a byte stream: a Unix socket, a TCP connection, a pipe. On the wire
// they are WebSocket frames (RFC 6455, from section 5 on), so that programs in other languages can take part.
//
//	c := framing.New(stream, framing.Options{})
//	defer c.Close(framing.CodeNormal, "")
//	go c.Serve(ctx, func(m framing.Message) error { ... })
//	err := c.Send(ctx, map[string]string{"foo": "bar"})
//
// A []byte travels as a binary message, as it is; every other value as a text message that holds its JSON, strings
// too. [Message.Decode] turns both back into values. Text that is not JSON can be sent and received as well, as a
// [Message].
//
// What always holds:
//
//   - A message arrives whole or not at all, and those of one sender in the order in which they were sent.
//   - No message larger than Options.MaxMessage is taken, and no memory for what has not arrived.
//   - A peer that does not read costs a bounded queue, see Options.MaxQueue; then Send waits.
//   - A violation of the protocol ends the connection with the close code of the RFC. When the peer has answered the close
//     frame, the stream is closed at once.
//
// The package has no opening handshake except [AcceptKey], no extensions and no subprotocols, and sends no masks. It
// accepts frames with and without a mask, in both roles.
package framing

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the options of New. The zero value is ready to use.
type Options struct {
	// MaxMessage is the size of the largest message that is sent or received, in bytes. Default: 16 MiB.
	MaxMessage int
	// MaxQueue is the length of the queue, in bytes, from which on Send waits. The last message goes beyond it, and as
	// much again may be on its way into the stream. Default: 1 MiB.
	MaxQueue int
	// CloseTimeout bounds Close. Default: 5 seconds.
	CloseTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.MaxMessage <= 0 {
		o.MaxMessage = 16 << 20
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = 1 << 20
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 5 * time.Second
	}
	return o
}

// Conn is a connection over which messages are sent and received. Its methods may be called at the same time, by any
// number of goroutines; one of them receives at a time. Keep a Receive running: otherwise pings go unanswered and a close by
// the peer goes unnoticed.
//
// A connection ends with one of these errors, which each later call returns; Receive first returns the messages that had
// arrived before:
//
//   - io.ErrClosedPipe: Close has been called;
//   - *CloseError: the peer has closed it;
//   - *ProtocolError: the peer has violated the protocol, and got a close frame that says so;
//   - io.ErrUnexpectedEOF: the stream has ended without a close frame;
//   - any other error of the stream.
//
// After each of them, Close has to be called to release the stream.
type Conn struct {
	opts   Options
	stream io.ReadWriteCloser
	timed  readDeadliner // stream, nil if it is none
	shut   func() error  // closes the stream, once
	out    *outbox
	pings  pings

	receiving turn // of who receives, and owns the two below
	decoder   *Decoder
	readErr   error // why nothing more can be received

	reads reads

	closing   atomic.Bool // Close has been called
	closeOnce sync.Once
	closeErr  error
}

// New returns a connection over stream, on which the handshake, if there is one, is done. The connection owns the stream
// from now on. Close of the stream must end a Read and a Write that are in flight, as that of a net.Conn does. If it has
// the read deadline of a net.Conn, it is used, and must be left alone by others.
//
// New starts no goroutine. One runs while there is something to be written that no Send writes by itself: what comes in
// bursts, what the stream does not take at once, and everything where the stream is not one of the kernel's, which have
// the SyscallConn of a *net.UnixConn. A wrapper that keeps this method is faster.
func New(stream io.ReadWriteCloser, opts Options) *Conn {
	opts = opts.withDefaults()
	c := &Conn{
		opts:      opts,
		stream:    stream,
		shut:      sync.OnceValue(stream.Close),
		out:       newOutbox(stream, opts.MaxQueue),
		receiving: newTurn(),
		decoder:   NewDecoder(opts.MaxMessage),
	}
	c.timed, _ = stream.(readDeadliner)
	c.reads.abort = c.abort
	return c
}

// Done returns a channel that is closed when the connection has ended, or Close has been called: nothing more is sent.
// That the peer or the stream has ended it is noticed by who receives or sends.
func (c *Conn) Done() <-chan struct{} { return c.out.failed }

// Err returns nil until Done is closed, then why: what has ended the connection first. A later Close does not change it.
func (c *Conn) Err() error {
	if err := c.out.cause(); err != nil {
		return fmt.Errorf("framing: ended: %w", err)
	}
	return nil
}
