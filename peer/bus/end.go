package bus

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer"
)

// deathGrace is how long a peer may take to leave the mesh when its stream has ended: the kernel frees the memory of a dead
// process first, and then closes its descriptors one by one.
const deathGrace = 5 * time.Second

// close closes the link, in bounded time. What is queued is sent before; the reader ends with it.
func (l *link) close() {
	_ = l.conn.Close(framing.CodeGoingAway, "the bus is closed")
	l.lending.recall()
}

// end is called by the reader when nothing more comes, with the reason.
func (l *link) end(err error) {
	code, text := framing.CodeNormal, ""
	if violation, ok := errors.AsType[*violation](err); ok {
		code, text = framing.CodeProtocol, violation.text
	}
	l.hub.links.set(l, false)
	_ = l.conn.Close(code, text)
	l.calls.fail(l.cause())
	close(l.workers.work)
	l.acks.end()
	l.inboxes.end()
	l.lending.close()
	l.account(err)
	l.hub.restart(l, err)
}

// cause returns the error of a message whose link has ended.
func (l *link) cause() error {
	if l.hub.isClosed() {
		return net.ErrClosed
	}
	if err := l.conn.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrPeerLeft, err)
	}
	return ErrPeerLeft
}

// account reports lost messages, and keeps the counters.
func (l *link) account(err error) {
	lost := l.lost(err)
	l.hub.links.forget(l)
	if l.hub.opts.OnLost == nil {
		return
	}
	for _, one := range lost {
		l.hub.opts.OnLost(one)
	}
}

func (l *link) lost(err error) (lost []Lost) {
	for topic, r := range l.remotes.all() {
		r.settle()
		if n := r.unconfirmed(); n > 0 {
			lost = append(lost, Lost{Peer: l.peer, Topic: topic, Unconfirmed: n, Err: err})
			l.counts.lost.Add(uint64(n))
		}
	}
	return lost
}

// restart cuts a peer that is alive and has not closed its bus, but whose link has ended. The mesh opens a stream once in a
// membership, so both sides have to start again.
func (h *hub) restart(l *link, err error) {
	closed, isClosed := errors.AsType[*framing.CloseError](err)
	switch {
	case h.isClosed(), isClosed && closed.Code == framing.CodeGoingAway:
		return
	case !isClosed && !isViolation(err) && h.leaves(l):
		return
	}
	h.opts.Logger.Warn("the link of the bus to a peer that lives has ended", "peer", l.peer.ID, "error", err)
	h.mesh.cut(l.peer, fmt.Sprintf("the link of the bus has ended: %v", err))
}

func isViolation(err error) bool {
	_, ok := errors.AsType[*violation](err)
	_, wrong := errors.AsType[*framing.ProtocolError](err)
	return ok || wrong
}

// leaves waits for a peer to leave the mesh, and reports whether it has, or is linked again, or the bus is closed.
func (h *hub) leaves(l *link) bool {
	for end := time.Now().Add(deathGrace); ; {
		here := slices.ContainsFunc(h.mesh.members(), func(p peer.Info) bool { return p.Incarnation == l.peer.Incarnation })
		if !here || h.links.has(l.peer) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
		select {
		case <-h.closing:
			return true
		case <-time.After(membersInterval):
		}
	}
}
