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

// transport is shared by the parts of a group: it sends to the other processes, and knows whether this process has left.
type transport struct {
	bus     *bus.Bus
	topic   string
	session uint64 // of our stream
	log     *slog.Logger
	stopped context.Context //nolint:containedctx // of messages to one process; ended by group.close
	closing chan none       // closed by membership.leave: from then on nothing is served, and nothing begins
}

func (t *transport) hasLeft() bool {
	select {
	case <-t.closing:
		return true
	default:
		return false
	}
}

// broadcast sends to all processes that have the cache. If it does not arrive, the receiver sees a gap and flushes its values.
func (t *transport) broadcast(m wire.Message) {
	t.report(t.bus.Broadcast(context.Background(), t.topic, m.Encode()))
}

func (t *transport) send(to peer.Info, m wire.Message) {
	t.report(t.bus.Send(t.stopped, to.ID, t.topic, m.Encode()))
}

// report logs a message that was not sent. It needs no repetition: the next change shows the gap, and the next round confirms.
func (t *transport) report(err error) {
	if err != nil {
		t.log.Debug("a message was not sent", "reason", err)
	}
}
