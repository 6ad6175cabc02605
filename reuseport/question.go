package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Question is one connection to a listener of this host whose source port is known before it is made, so that a [Mark]
// can send it to an index of the group. The member that accepts it sits there:
//
//	q, err := reuseport.NewQuestion(ctx, l.Addr().(*net.TCPAddr))
//	...
//	err = reuseport.Attach(l, reuseport.Steering{Weights: weights, Mark: &reuseport.Mark{Port: q.Port(), Index: 2}})
//	...
//	err = q.Connect(ctx) // and see who accepts a connection from q.Source()
//
// It sends nothing. Its owner ends it by Finish where a program has accepted it that knows nothing of questions, else by
// Close.
type Question struct {
	socket         *os.File
	source, target netip.AddrPort
}

// NewQuestion binds a socket to a free port of the address of the listener target; in place of a wildcard, to the
// loopback address. A listener on [::] is asked over IPv6, or over IPv4 where this host has no IPv6. The port must not
// be 0. ctx ends the search for a port.
//
// It needs Linux; elsewhere the error Is errors.ErrUnsupported.
func NewQuestion(ctx context.Context, target *net.TCPAddr) (*Question, error) {
	q, err := newQuestion(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("reuseport: question to %s: %w", target, err)
	}
	return q, nil
}

// Source returns where the connection comes from, as the accepting side sees it in RemoteAddr; never an IPv4 address
// mapped to IPv6.
func (q *Question) Source() netip.AddrPort { return q.source }

// Target returns where the connection goes to, as the accepting side sees it in LocalAddr; never an IPv4 address mapped
// to IPv6.
func (q *Question) Target() netip.AddrPort { return q.target }

// Port returns the port of Source, for a [Mark].
func (q *Question) Port() uint16 { return q.source.Port() }

// Connect connects, and returns when the kernel has established the connection on this side; the ACK that puts it in
// the member's queue may still be on its way. It may be called once. An ended ctx, or Close, ends it. The connection
// stays open until Close.
func (q *Question) Connect(ctx context.Context) error {
	if err := q.connect(ctx); err != nil {
		return fmt.Errorf("reuseport: question to %s from %s: %w", q.target, q.source, err)
	}
	return nil
}

// Finish ends the connection in order, as a client does that changes its mind: the accepting side reads EOF and no reset,
// which many servers log as an error. Finish waits until that side has closed, but no longer than ctx, and closes the
// question; it discards what is sent to it. For a minute the port of Source stays in TIME_WAIT. An ended ctx is no error.
// Finish may be called without Connect and after Close, and then returns nil.
func (q *Question) Finish(ctx context.Context) error {
	if err := q.finish(ctx); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("reuseport: %w", err)
	}
	return nil
}

// Arrival is where the accepting side of a [Question] is.
type Arrival int

// The places of a connection, in the order in which it reaches them.
const (
	ArrivalPending  Arrival = iota // it is not established there
	ArrivalQueued                  // it waits to be accepted, or is just being accepted
	ArrivalAccepted                // a process has it
	ArrivalClosed                  // the accepting side has closed it, or it never came
)

// Arrival returns the place of the accepting side of the connection, and the inode of its socket once it has been accepted:
// [Holders] returns its processes. Call it after Connect has returned nil. It asks sock_diag(7), with one look-up.
//
// It needs Linux with sock_diag; elsewhere the error Is errors.ErrUnsupported.
func (q *Question) Arrival() (at Arrival, inode uint32, err error) {
	if at, inode, err = q.arrival(); err != nil {
		return 0, 0, fmt.Errorf("reuseport: question to %s from %s: %w", q.target, q.source, err)
	}
	return at, inode, nil
}

// Close resets the connection, so that nothing of it is left, not even TIME_WAIT. It may be called without Connect, and
// again, and then returns nil.
func (q *Question) Close() error {
	if err := q.close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("reuseport: %w", err)
	}
	return nil
}
