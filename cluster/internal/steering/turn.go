package steering

import (
	"context"
	"fmt"
	"net"

	"github.com/multinode-go/multinode/internal/closed"
)

// turn lets one goroutine at a time work at a port.
type turn struct {
	at    string          // its address
	over  <-chan struct{} // closed when the ports are another master's
	taken chan struct{}   // holds a value while a goroutine has the turn
}

func newTurn(at string, over <-chan struct{}) turn {
	return turn{at, over, make(chan struct{}, 1)}
}

// take waits for the turn. It fails when this master has handed over: the port is its successor's.
func (t turn) take(ctx context.Context) error {
	select {
	case t.taken <- struct{}{}:
		if !closed.Is(t.over) {
			return nil
		}
		<-t.taken
	case <-t.over:
	case <-ctx.Done():
		return fmt.Errorf("wait for a turn at %s: %w", t.at, ctx.Err())
	}
	return fmt.Errorf("%s is no longer this master's: %w", t.at, net.ErrClosed)
}

// try takes the turn if it is free.
func (t turn) try() bool {
	select {
	case t.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t.taken }
