package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
)

// leave ends the node.
func (n *Node) leave(cause error) {
	<-n.started
	var err error
	switch {
	case n.master != nil:
		err = n.master.stop(n, cause)
	case n.worker != nil:
		n.worker.report(cause)
		err = n.endServing(n.stopping, n.worker.lameDuck())
		err = errline.Join(err, n.listeners.Close())
		err = errline.Join(err, n.links.close())
		err = errline.Join(err, n.worker.close())
	default:
		err = n.endServing(n.stopping, min(n.opts.LameDuck, briefLameDuck))
		err = errline.Join(err, n.links.close())
	}
	n.finish(cause, err)
}

// endServing drains the servers, and waits until the connections are closed that the program has accepted by itself.
func (n *Node) endServing(ctx context.Context, lameDuck time.Duration) error {
	err := n.endServers(ctx, lameDuck)
	return errline.Join(err, serve.AwaitClosed(ctx, slices.DeleteFunc(n.allPorts(), n.servers.Serves)))
}

// settleTime is what a server has to begin with the connections that it has accepted last, before it may end. That of gRPC
// drops those that it has accepted and whose goroutine has not begun.
const settleTime = 100 * time.Millisecond

// settle waits for settleTime if connections are open that no server counts.
func (n *Node) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	_ = serve.AwaitClosed(ctx, slices.DeleteFunc(n.allPorts(), n.servers.Counts)) // it has only to take its time
}

func (n *Node) allPorts() []net.Addr {
	n.portsMu.Lock()
	defer n.portsMu.Unlock()
	return slices.Clone(n.ports)
}

// ending is the end of a node's servers, which a master may have before its own.
type ending struct {
	once sync.Once
	done chan struct{} // closed when it has ended
	cut  context.CancelFunc
	err  error // readable after done
}

// endServers drains the servers; the second call waits for the first one, and cuts it when its own time is over.
func (n *Node) endServers(ctx context.Context, lameDuck time.Duration) error {
	e := &n.ending
	e.once.Do(func() {
		e.done = make(chan struct{})
		var inner context.Context
		inner, e.cut = context.WithCancel(context.Background())
		go func() { // ends soon after cut
			defer close(e.done)
			e.err = n.servers.Drain(inner, lameDuck, func(ctx context.Context) error {
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
	err := n.listeners.Leave(ctx, n.done, n.servers.AnnounceDraining)
	err = errline.Join(err, n.shutKept())
	if n.worker != nil {
		n.worker.tell(func(m protocol.Master) error { return m.Drained(protocol.Drained{Took: time.Since(begin)}) })
	}
	return err
}

// finish tells everybody that the node has ended.
func (n *Node) finish(cause, err error) {
	n.stopMu.Lock()
	raise := n.raise
	n.cut()
	n.stopMu.Unlock()
	if raise != nil {
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
