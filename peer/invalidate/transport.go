package invalidate

import (
	"context"
	"errors"
	"log/slog"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

type none = struct{}

// errChanged is for a lease that is not granted or not renewed: what it depends on has changed meanwhile.
var errChanged = errors.New("something has changed meanwhile")

// transport is what the parts of a group share: how they reach the other processes, and whether this process has left.
type transport struct {
	bus     *bus.Bus
	topic   string
	session uint64 // of our stream
	log     *slog.Logger
	stopped context.Context //nolint:containedctx // of what is sent to one process; ended by group.close
	closing chan none       // closed by membership.leave: nothing is served and nothing begins any more
}

func (t *transport) hasLeft() bool {
	select {
	case <-t.closing:
		return true
	default:
		return false
	}
}

// broadcast sends to all that have the cache. Where it does not get through it is a gap, which ends in a flush there.
func (t *transport) broadcast(m wire.Message) {
	t.report(t.bus.Broadcast(context.Background(), t.topic, m.Encode()))
}

func (t *transport) send(to peer.Info, m wire.Message) {
	t.report(t.bus.Send(t.stopped, to.ID, t.topic, m.Encode()))
}

// report logs what a message has met. Each is made up for: a change that did not come is a gap, a confirmation that did
// not is told by the next round.
func (t *transport) report(err error) {
	if err != nil {
		t.log.Debug("a message was not sent", "reason", err)
	}
}
