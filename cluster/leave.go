package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
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
		err = errline.Join(err, n.seats.close())
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

// longestLeave bounds how long a node waits until nothing waits in its accept queues any more. Its server accepts all the
// while; it is the bound for one that does not, or for handshakes that never end.
const longestLeave = 10 * time.Second

// leavePorts leaves the groups of all ports, without losing a connection where they can be steered, and closes the
// listeners.
func (n *Node) leavePorts(ctx context.Context) error {
	defer n.leftOnce.Do(func() { close(n.left) })
	n.leaving.Lock()
	defer n.leaving.Unlock()
	n.seats.refuse()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, longestLeave)
	defer cancel()
	var leaves sync.WaitGroup
	for _, one := range n.seats.all() {
		one.listener.Park(n.done)
		go n.watchQueue(ctx, one)
		leaves.Go(func() { // ends with ctx
			if err := n.leavePort(ctx, one); err != nil && !errors.Is(err, net.ErrClosed) {
				n.opts.Logger.Warn("connections that wait to be accepted may be lost",
					"id", n.ID(), "slot", n.Slot(), "address", one.address, "error", err)
			}
		})
	}
	leaves.Wait()
	err := errline.Join(n.seats.close(), n.shutKept())
	if n.worker != nil {
		n.worker.tell(message{Kind: kindDrained, Took: time.Since(begin)})
	}
	return err
}

// stuckTime is how long connections may wait in the queue of a node that leaves while nobody accepts.
const stuckTime = time.Second

// watchQueue lets Draining be done before the node has left, when connections wait that nobody accepts: the places below
// the limit of a server may be taken by handlers that only end then. It is a goroutine that ends with ctx.
func (n *Node) watchQueue(ctx context.Context, one *seat) {
	for {
		select {
		case <-time.After(stuckTime):
		case <-ctx.Done():
			return
		}
		poke, cancel := context.WithTimeout(ctx, stuckTime)
		err := one.listener.Poke(poke)
		cancel()
		if length, _ := one.queue(); length > 0 && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			n.servers.AnnounceDraining()
			return
		}
	}
}

// How long a node waits that connections can be steered away, while the map of the group is not certain.
const (
	excludeTimeout  = 3 * time.Second
	excludeInterval = 20 * time.Millisecond
)

// exclude steers new connections away. It returns 0 where they cannot be: then they are not answered any more, and their
// clients try again after a second.
func (n *Node) exclude(ctx context.Context, one *seat) (epoch int, err error) {
	for end := time.Now().Add(excludeTimeout); ; {
		epoch, later, err := n.keeper.get().exclude(ctx, one.key)
		late := time.Now().After(end)
		if late {
			n.opts.Logger.Warn("connections cannot be steered away: those that come now are answered a second later",
				"id", n.ID(), "slot", n.Slot(), "address", one.address)
		}
		if err != nil || !later || late {
			return epoch, err
		}
		select {
		case <-time.After(excludeInterval):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// leavePort leaves the group of one port. Whoever is in the way of the exact drain, for instance a member that dies and
// whose index we get, makes it begin anew.
func (n *Node) leavePort(ctx context.Context, one *seat) error {
	for {
		epoch, err := n.exclude(ctx, one)
		if epoch == 0 {
			_ = reuseport.Hide(one.socket) // where it cannot be, those that come in the last moment are lost
		}
		_, drainErr := reuseport.Drain(ctx, one.socket)
		if err != nil || drainErr != nil {
			return errline.Join(drainErr, err)
		}
		again, err := n.keeper.get().leave(ctx, one.key, epoch)
		if !again || err != nil {
			return err
		}
	}
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
