package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
)

// leave ends the node.
func (n *Node) leave(cause error) {
	<-n.started
	n.finish(cause, n.role.Stop(cause))
}

// EndServing drains the servers, and waits until the connections are closed that the program has accepted by itself.
func (n *Node) EndServing(ctx context.Context, lameDuck time.Duration) error {
	err := n.EndServers(ctx, lameDuck)
	return errline.Join(err, serve.AwaitClosed(ctx, slices.DeleteFunc(n.addresses(), n.Servers.Serves)))
}

// settleTime is the time for a server to begin with the connections that it has accepted last, before it may end. A gRPC server
// drops connections that it has accepted and whose goroutine has not begun.
const settleTime = 100 * time.Millisecond

// settle waits for settleTime if connections are open that no server counts.
func (n *Node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	_ = serve.AwaitClosed(ctx, slices.DeleteFunc(n.addresses(), n.Servers.Counts)) // it has only to take its time
}

// ending is the end of a node's servers, which a master may have before its own.
type ending struct {
	once sync.Once
	done chan struct{} // closed when it has ended
	cut  context.CancelFunc
	err  error // readable after done
}

// EndServers drains the servers; the second call waits for the first one, and cuts it when its own time is over.
func (n *Node) EndServers(ctx context.Context, lameDuck time.Duration) error {
	e := &n.ending
	e.once.Do(func() {
		e.done = make(chan struct{})
		var inner context.Context
		inner, e.cut = context.WithCancel(context.Background())
		go func() { // ends soon after cut
			defer close(e.done)
			e.err = n.Servers.Drain(inner, lameDuck, func(ctx context.Context) error {
				err := n.leavePorts(ctx)
				n.settle(ctx)
				return err
			})
		}()
	})
	defer e.cut()
	select {
	case <-e.done:
	case <-ctx.Done():
		e.cut()
		<-e.done
		return errline.Join(e.err, ctx.Err())
	}
	return e.err
}

// leavePorts leaves the groups of all ports, without losing a connection where they can be steered, and closes the listeners.
func (n *Node) leavePorts(ctx context.Context) error {
	defer n.leftOnce.Do(func() { close(n.left) })
	begin := time.Now()
	err := n.listeners.Leave(ctx, n.done, n.Servers.AnnounceDraining)
	err = errline.Join(err, n.shutKept(n.done))
	if n.role.Left != nil {
		n.role.Left(time.Since(begin))
	}
	return err
}

// finish publishes the end of the node.
func (n *Node) finish(cause, err error) {
	if raise := n.endStop(); raise != nil {
		raiseSignal(raise)
	}
	err = errline.Join(err, n.closeKept())
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("requests still in flight after the time to stop were cut: %w", err)
	}
	if err = errline.Join(cause, err); err != nil {
		n.err = fmt.Errorf("cluster: %w", err)
	}
	close(n.done)
}
