package cluster

import (
	"context"
	"fmt"
	"time"
)

// drain ends the service without losing a connection or a request, as far as ctx gives it the time:
//
//  1. draining is done, and from now on responses tell the clients to use their connections no more;
//  2. leave is called, which steers new connections away, empties the queue and closes the listener, while the server
//     goes on as before;
//  3. connections that are open have until the end of the lame duck to send one more request and be told;
//  4. the server's Shutdown waits for requests in flight;
//  5. handlers that have hijacked their connection return by themselves.
//
// What is left when ctx is done is cut. A drain can be had once.
func (s *service) drain(ctx context.Context, leave func(context.Context) error) error {
	told := time.Now()
	s.announce()
	err := leave(ctx)
	err = join(err, s.listener.Close())
	if !s.serving {
		return err
	}
	if s.traffic != nil {
		s.waitLameDuck(ctx)
	}
	err = join(err, s.server.Shutdown(ctx))
	if s.traffic != nil {
		err = join(err, s.awaitHijacked(ctx, told))
	}
	return s.finish(ctx, err)
}

// waitLameDuck waits until no connection is open, at most for the time of the lame duck. The connection that was
// accepted last is counted when Serve has returned: Shutdown would drop it before it has sent its request.
func (s *service) waitLameDuck(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.lameDuck)
	defer cancel()
	select {
	case <-s.ended:
	case <-ctx.Done():
		return
	}
	_ = s.traffic.await(ctx, &s.traffic.connections) // those that are still open are Shutdown's
}

// awaitHijacked waits for the handlers of hijacked connections, which know of the drain since told: after Shutdown no
// others are left. Those that don't return lose their connections.
func (s *service) awaitHijacked(ctx context.Context, told time.Time) error {
	wait := ctx
	if s.hijackTimeout > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithDeadline(ctx, told.Add(s.hijackTimeout))
		defer cancel()
	}
	err := s.traffic.await(wait, &s.traffic.requests)
	if err == nil {
		return nil
	}
	if cut := s.traffic.cut(); cut > 0 {
		return fmt.Errorf("%d connections that handlers had taken over were cut: %w", cut, err)
	}
	return nil // what else is left is an error of Shutdown
}
