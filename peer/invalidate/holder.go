package invalidate

import (
	"errors"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// holder is the storing side of this process: it applies and confirms the changes of the writers, and renews its lease, which
// all of them grant.
//
// It has no mutex: membership guards the writers, and each stream the changes of its writer.
type holder struct {
	*transport
	members *membership
	target  target
	length  time.Duration   // of the lease
	fence   func(peer.Info) // nil: nothing is done
	running sync.WaitGroup  // rounds and fences
}

// changed applies a change of a writer, and confirms it.
func (h *holder) changed(from peer.Info, in wire.Message) {
	if h.members.table.Has(from.Incarnation) { // the change is in the table already
		return
	}
	m := h.members.member(from)
	if in.Kind == wire.Sync { // it answers our question, and may come before the answer
		m = h.members.meet(from, in.Session)
	}
	if m == nil || m.session != in.Session {
		h.obey(in)
		return
	}
	take := m.stream.change
	if in.Kind == wire.Sync {
		take = m.stream.sync
	}
	switch applied, err := take(in); {
	case errors.Is(err, errStranger):
		h.obey(in)
	case err != nil:
		h.desync(from, err)
	default:
		h.confirm(from, in.Session, applied)
	}
}

// confirm tells a writer the last change that was applied.
func (h *holder) confirm(to peer.Info, session, seq uint64) {
	h.send(to, wire.Message{Kind: wire.Ack, Session: session, Seq: seq}) // if it does not arrive, the next round confirms it
}

// obey applies a change whose stream is not in step, or whose writer is gone, as drops: they cost a load at most.
func (h *holder) obey(m wire.Message) {
	_ = wire.EachOp(m.Ops, func(o wire.Op, data []byte) error {
		if o == wire.OpBegin || o == wire.OpEnd {
			o = wire.OpKey
		}
		return h.target.apply(o, data)
	})
}

// desync suspends serving until the stream of a writer is synchronized again.
func (h *holder) desync(from peer.Info, why error) {
	h.log.Info("throwing all away", "peer", from.ID, "reason", why)
	if m := h.members.desync(from); m != nil {
		m.stream.desync()
	}
}
