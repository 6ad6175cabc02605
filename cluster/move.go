package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// longestMove bounds how long a node waits for what is in its queue before it gives a move up, and then for its master.
const longestMove = 2 * time.Second

// rejoinInterval is the time between two questions to a master that has not let a node into its group again.
const rejoinInterval = 100 * time.Millisecond

// maxMoves is how often members are moved for the sake of one stranger: a server that does not accept may never be.
const maxMoves = 3

// reorder sees to it that the death of a member gives nothing to a stranger. One who joins is the last of the group, and
// the kernel moves the last to the index of whoever dies, with all new connections of that index, at once: before the
// master knows, or while there is none. So a node of ours leaves and joins again: the stranger moves to its index, which
// gets nothing then, and the last is ours.
func (g *group) reorder(ctx context.Context) {
	if g.take(ctx) != nil {
		return
	}
	defer g.give()
	m := g.toReorder()
	if m == nil {
		return
	}
	if _, err := g.call(ctx, m.Node, message{Kind: kindMove}); err != nil {
		g.steering.logger.Debug("a node cannot be moved behind a stranger", "id", m.Node.id, "address", g.address, "error", err)
	}
}

// toReorder returns the member to leave and join again, nil when there is nothing to do, or too few are well.
func (g *group) toReorder() (first *member) {
	members := g.nodes.Order()
	if g.rung < reuseport.RungBPF || g.sink != nil || len(members) == 0 {
		return nil
	}
	last := members[len(members)-1]
	if !last.Foreign || last.Moves == maxMoves || g.steering.sightings.flaps(g.met[last]) {
		return nil
	}
	others := 0
	for _, m := range members {
		switch {
		case m.Foreign:
		case m.Health() != portgroup.Healthy:
			return nil // it may be on its way already
		case m.Node.id == g.steering.self || m.Node.ask.Load() == nil:
			others++ // the master would have nobody to move it
		case first == nil:
			first = m
		default:
			others++
		}
	}
	if first == nil || others == 0 {
		return nil
	}
	last.Moves++
	return first
}

// move leaves the group of a port and joins it again, where a connection cannot be lost by it. The server notices nothing.
func (n *Node) move(key portKey) {
	n.leaving.Lock()
	defer n.leaving.Unlock()
	one, err := n.seats.get(key)
	if err != nil {
		return // the node has left for good
	}
	n.seats.beginMove(one)
	err = n.tryMove(one)
	err = errline.Join(err, n.joinAgain(one))
	err = errline.Join(err, n.seats.endMove(key))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		n.opts.Logger.Warn("moving within the group failed", "id", n.ID(), "slot", n.Slot(), "address", one.address, "error", err)
	}
}

// tryMove leaves the group, unless that may lose a connection.
func (n *Node) tryMove(one *seat) error {
	ctx, cancel := context.WithTimeout(context.Background(), longestMove)
	defer cancel()
	keeper := n.keeper.get()
	for {
		epoch, _, err := keeper.exclude(ctx, one.key)
		if err != nil || epoch == 0 {
			return err
		}
		if _, err := reuseport.Drain(ctx, one.socket); err != nil {
			return fmt.Errorf("empty the queue: %w", err)
		}
		again, err := keeper.leave(ctx, one.key, epoch)
		if !again || err != nil {
			return err
		}
	}
}

// joinAgain joins a group that was left, or takes back an exclusion, of which the master has to know. Until it does, or the
// node stops, the node listens by itself.
func (n *Node) joinAgain(one *seat) error {
	for told := false; ; time.Sleep(rejoinInterval) {
		err := n.tryJoin(one.key)
		if err == nil || n.isStopping() {
			return nil
		}
		if _, openErr := n.seats.open(context.Background(), one.key, one.address); openErr != nil {
			return errline.Join(openErr, err)
		}
		if !told {
			n.opts.Logger.Warn("the master does not take this node into the group again: asking it until it does", "id", n.ID(),
				"slot", n.Slot(), "address", one.address, "error", err)
			told = true
		}
	}
}

func (n *Node) tryJoin(key portKey) error {
	ctx, cancel := context.WithTimeout(context.Background(), longestMove)
	defer cancel()
	return n.keeper.get().join(ctx, key)
}
