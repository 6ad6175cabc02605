package reuseport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// endOfQuestion is how long a member that has accepted a question by mistake has time to close it.
const endOfQuestion = 100 * time.Millisecond

// Sink is a member of a group that lets no connection be established. It is a listener whose accept queue is kept full
// by a connection of our own, so that the kernel drops each SYN that is steered to it (tcp_conn_request,
// sk_acceptq_is_full), and the client tries again after 1 s. With all weight on it, every other member can be drained
// and closed, and no established connection is reset: clients that connect meanwhile are served by the next listener, or
// are refused, or time out.
//
// How to stop all members of a group, one after the other:
//
//	sink, err := reuseport.NewSink(ctx, network, address) // with the weights of the others in place
//	err = sink.Fill(ctx, order.Index(sink), attach, weights) // all weight on the sink
//	for each other member m {
//		attach all weight to order.Index(sink) // a member that left may have moved it
//		_, err = reuseport.Drain(ctx, m)
//		m.Close(); order.Leave(m)
//	}
//	sink.Close()
//
// When the last member moves because another one leaves, and it was the sink, the kernel's hash decides until the next
// Attach, see there: the next Drain waits for connections of that moment. Members may leave in any order and at
// the same time if the sink sits at index 0, where it never moves: drain and close the member that is there, with
// weight 0 for both, before Fill.
//
// Its owner closes it. Its methods may be called by several goroutines at the same time.
type Sink struct {
	listener *net.TCPListener
	filled   chan *Question // holds the connection in the queue, or nil; the goroutine that has taken it out may change it
}

// NewSink opens a listener like [Listen], with a backlog of 0. It joins the group at its end, and must not get
// connections until Fill has returned: an index that the attached weights do not have gets none, so that weights must be
// attached.
//
// Errors are those of Listen. It needs Linux; elsewhere the error Is errors.ErrUnsupported.
func NewSink(ctx context.Context, network, address string) (*Sink, error) {
	l, err := Listen(ctx, network, address, Options{})
	if err != nil {
		return nil, err
	}
	s := &Sink{listener: l, filled: make(chan *Question, 1)}
	s.filled <- nil
	if err := setBacklog(l, backlogBeforeFill); err != nil {
		l.Close()
		return nil, fmt.Errorf("reuseport: sink: %w", err)
	}
	return s, nil
}

// Fill fills the queue of the sink, which sits at index, and then attaches weights, which may be all on the sink. The
// function attach is [Attach] on a listening member, such as the sink itself, or sends the Steering to who does that; it
// is called twice. Until the queue is full, it gets the weights without the sink's, or, if that leaves none, equal
// weights for the others.
//
// It needs a ctx with a bound, and returns an error when the connection that was to fill the queue has come to another
// member; then the weights of that time stay. Fill may be called again, and then only attaches the weights.
func (s *Sink) Fill(ctx context.Context, index int, attach func(Steering) error, weights []uint32) error {
	if err := s.fill(ctx, index, attach, weights); err != nil {
		return fmt.Errorf("reuseport: sink at index %d: %w", index, err)
	}
	return nil
}

// Addr returns the address that the sink listens on.
func (s *Sink) Addr() net.Addr { return s.listener.Addr() }

// SyscallConn makes the sink usable for [Attach], [Queue] and [Inode].
func (s *Sink) SyscallConn() (syscall.RawConn, error) { return s.listener.SyscallConn() }

// Close closes the listener. With net.ipv4.tcp_migrate_req=1, another member that is left gets the connection that filled
// the queue, which is reset. Close may be called again, and then returns nil.
func (s *Sink) Close() error {
	q := <-s.filled
	defer func() { s.filled <- nil }()
	var err error
	if q != nil { // first, so that it is not a live connection that could migrate to another member
		err = q.Close()
	}
	if closeErr := s.listener.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("reuseport: %w", closeErr))
	}
	return err
}

// fill is Fill. It takes the connection out of filled for as long as it runs.
func (s *Sink) fill(ctx context.Context, index int, attach func(Steering) error, weights []uint32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case q := <-s.filled:
		defer func() { s.filled <- q }()
		if q == nil {
			var err error
			if q, err = s.ask(ctx, index, attach, others(weights, index)); err != nil {
				return err
			}
		}
		return attach(Steering{Weights: weights})
	}
}

// ask puts a connection into the queue and leaves no room for another.
func (s *Sink) ask(ctx context.Context, index int, attach func(Steering) error, meanwhile []uint32) (*Question, error) {
	q, err := NewQuestion(ctx, s.listener.Addr().(*net.TCPAddr))
	if err != nil {
		return nil, err
	}
	if err := s.place(ctx, q, index, attach, meanwhile); err != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endOfQuestion)
		defer cancel()
		return nil, errors.Join(err, q.Finish(ending)) // another member may have accepted it
	}
	return q, nil
}

func (s *Sink) place(ctx context.Context, q *Question, index int, attach func(Steering) error, meanwhile []uint32) error {
	if err := attach(Steering{Weights: meanwhile, Mark: &Mark{Port: q.Port(), Index: index}}); err != nil {
		return err
	}
	if err := q.Connect(ctx); err != nil {
		return err
	}
	return awaitFull(ctx, s.listener)
}

// others returns the weights without that of an index or, if that leaves none, equal ones for all others.
func others(weights []uint32, index int) []uint32 {
	rest := make([]uint32, len(weights))
	some := false
	for i, w := range weights {
		if i != index {
			rest[i] = w
			some = some || w > 0
		}
	}
	for i := range rest {
		if !some && i != index {
			rest[i] = 1
		}
	}
	return rest
}
