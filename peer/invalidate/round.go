package invalidate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

const (
	// rounds is how many rounds there are in the time of a lease.
	rounds = 4
	// minRetry is the time before the next round when one has failed; it doubles.
	minRetry = 5 * time.Millisecond
)

// renewAll makes one round after the other, until leave.
func (h *holder) renewAll() {
	interval := h.length / rounds
	retry := minRetry
	for !h.hasLeft() {
		pause := interval
		if err := h.round(); err != nil {
			h.log.Debug("the lease is not renewed", "reason", err)
			pause = min(retry, interval)
			retry = min(2*retry, interval)
		} else {
			retry = minRetry
			if h.members.isAlone() {
				pause = clock.Forever // a new member wakes it
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-h.members.kick:
			timer.Stop()
		case <-h.closing:
			timer.Stop()
		}
	}
}

// round renews the lease if all members grant it.
func (h *holder) round() error {
	ctx, cancel := context.WithTimeout(h.stopped, h.length) // later answers renew nothing
	defer cancel()
	gen, peers, joined := h.members.plan()
	begin := clock.Now() // before anything is asked
	var found []byte
	if !joined {
		var err error
		if peers, found, err = h.find(ctx); err != nil {
			return err
		}
	}
	if err := h.askAll(ctx, peers, found); err != nil {
		return err
	}
	return h.members.renew(gen, begin)
}

// find returns the processes to ask in the first round: all live processes, since those with the cache are among them, except
// those that share the table. It also returns the incarnations of all live processes.
func (h *holder) find(ctx context.Context) (peers []peer.Info, found []byte, err error) {
	peers, _, err = h.unshared()
	if err != nil || len(peers) == 0 {
		return nil, nil, err
	}
	// Of two processes that start at the same time, one knows the other's subscription after this.
	if err := h.bus.Flush(ctx); err != nil {
		h.members.noteAll(err)
		return nil, nil, err
	}
	return h.unshared()
}

func (h *holder) unshared() (peers []peer.Info, found []byte, err error) {
	live, err := inside.Of(h.bus.Mesh()).Live()
	for _, p := range live {
		found = binary.BigEndian.AppendUint64(found, uint64(p.Incarnation))
	}
	return slices.DeleteFunc(live, func(p peer.Info) bool { return h.members.table.Has(p.Incarnation) }), found, err
}

// askAll asks all peers concurrently.
func (h *holder) askAll(ctx context.Context, peers []peer.Info, found []byte) error {
	errs := make([]error, len(peers))
	var asking sync.WaitGroup
	for i, p := range peers[min(1, len(peers)):] {
		asking.Go(func() { errs[i+1] = h.ask(ctx, p, found) }) // ended by ctx
	}
	if len(peers) > 0 {
		errs[0] = h.ask(ctx, peers[0], found)
	}
	asking.Wait()
	return errors.Join(errs...)
}

// ask renews the lease from one process. It returns nil also if the process does not have the cache.
func (h *holder) ask(ctx context.Context, p peer.Info, found []byte) error {
	begin := clock.Now()
	question := wire.Message{Kind: wire.Ask, Own: h.session, Time: h.length, Ops: found}
	m := h.members.asks(p)
	if m != nil {
		question.Session, question.Seq, _ = m.stream.at()
	}
	in, err := h.bus.Request(ctx, p.ID, h.topic, question.Encode())
	if err != nil {
		stopped := clock.Now()-begin > int64(h.length)*3/2 // this process was stopped, and may be the reason
		if errors.Is(err, context.DeadlineExceeded) && m != nil && !stopped {
			h.suspect(m)
		}
		return h.unanswered(p, m, err)
	}
	answer, err := wire.Parse(in.Data)
	if err == nil && (answer.Kind != wire.Grant || in.From.Incarnation != p.Incarnation) {
		err = fmt.Errorf("message of kind %d of node %d in answer", answer.Kind, in.From.ID)
	}
	if err == nil {
		err = h.follow(ctx, p, answer, begin)
	}
	return h.members.note(p, err)
}

// unanswered handles a process that has not answered: it may be gone, or without the cache.
func (h *holder) unanswered(p peer.Info, m *member, err error) error {
	failed, _ := errors.AsType[*bus.PeerError](err)
	isSame := failed != nil && failed.Peer.Incarnation == p.Incarnation
	if isSame && errors.Is(err, bus.ErrNoSubscriber) && h.members.end(p, m) { // it is alive, without the cache
		return nil
	}
	if errors.Is(err, bus.ErrNoPeer) || errors.Is(err, bus.ErrPeerLeft) || !isSame {
		if live, liveErr := inside.Of(h.bus.Mesh()).Live(); liveErr == nil && !slices.ContainsFunc(live, func(l peer.Info) bool {
			return l.Incarnation == p.Incarnation
		}) {
			h.members.ended(p)
			return h.members.noteGone()
		}
	}
	return h.members.note(p, err)
}

// follow waits until a stream is applied up to the number in its writer's answer, which may overtake the changes.
func (h *holder) follow(ctx context.Context, p peer.Info, answer wire.Message, begin int64) error {
	m, err := h.members.answered(p, answer.Session)
	if m == nil {
		return err
	}
	h.target.Distrust(answer.Time)
	ctx, cancel := context.WithTimeout(ctx, h.length/2)
	defer cancel()
	for {
		session, applied, moved := m.stream.at()
		if h.members.member(p) != m {
			return errChanged
		}
		if session == answer.Session && applied >= answer.Seq {
			h.members.trust(m, begin+int64(h.length))
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			err := fmt.Errorf("%w: %d to %d", errGap, applied+1, answer.Seq)
			if h.stopped.Err() == nil {
				h.desync(p, err)
			}
			return err
		}
	}
}

// fenceAfter is how many rounds in a row a process does not answer before it is fenced. Each takes as long as our lease.
const fenceAfter = 2

// suspect calls Fence for a process that hangs, if it is set.
func (h *holder) suspect(m *member) {
	if n := m.silent.Add(1); h.fence == nil || n != fenceAfter || h.hasLeft() {
		return
	}
	h.log.Warn("fencing a process that hangs", "peer", m.info.ID, "pid", m.info.PID)
	h.running.Go(func() { h.fence(m.info) }) // ended by the user's function; close waits, as it does for the round that calls this
}
