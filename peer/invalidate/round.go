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
)

// renewAll makes one round after the other, until leave.
func (g *group) renewAll() {
	interval := g.length / rounds
	retry := minRetry
	for g.check() == nil {
		pause := interval
		if err := g.round(); err != nil {
			g.log.Debug("the lease is not renewed", "reason", err)
			pause = min(retry, interval)
			retry = min(2*retry, interval)
		} else {
			retry = minRetry
			if g.isAlone() {
				pause = clock.Forever // whoever comes wakes it
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-g.kick:
			timer.Stop()
		case <-g.closing:
			timer.Stop()
		}
	}
}

// isAlone reports whether there is nobody to be asked for a lease.
func (g *group) isAlone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members) == 0
}

// round renews the lease: from all, or not at all.
func (g *group) round() error {
	ctx, cancel := context.WithTimeout(g.stopped, g.length) // what comes later renews nothing any more
	defer cancel()
	gen, peers, joined := g.plan()
	begin := clock.Now() // before anything is asked
	var found []byte
	if !joined {
		var err error
		if peers, found, err = g.find(ctx); err != nil {
			return err
		}
	}
	if err := g.askAll(ctx, peers, found); err != nil {
		return err
	}
	return g.renew(gen, begin)
}

// plan returns whom to ask.
func (g *group) plan() (gen uint64, peers []peer.Info, joined bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		peers = append(peers, m.info)
	}
	return g.gen, peers, g.joined
}

// find returns whom to ask first: all that live, since those that have the cache are among them, but for those that share
// the table. It also returns the incarnations of all.
func (g *group) find(ctx context.Context) (peers []peer.Info, found []byte, err error) {
	peers, _, err = g.unshared()
	if err != nil || len(peers) == 0 {
		return nil, nil, err
	}
	// Of two that come at the same time, one knows the other's subscription after this.
	if err := g.bus.Flush(ctx); err != nil {
		return nil, nil, g.noteFailure(err)
	}
	return g.unshared()
}

func (g *group) unshared() (peers []peer.Info, found []byte, err error) {
	live, err := inside.Of(g.mesh).Live()
	for _, p := range live {
		found = binary.BigEndian.AppendUint64(found, uint64(p.Incarnation))
	}
	return slices.DeleteFunc(live, func(p peer.Info) bool { return g.table.Has(p.Incarnation) }), found, err
}

// renew lets the lease run, counted from the begin of a round in which all have answered, and notes that all that live know
// this process: rule 3 is here. One that was over begins with nothing stored: so does rule 6.
func (g *group) renew(gen uint64, begin int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gen != gen || g.left {
		return errChanged
	}
	if !g.joined {
		g.joined = true
		close(g.known)
	}
	clear(g.problems)
	if g.lease.IsOver(clock.Now()) {
		g.target.Flush()
	}
	if len(g.members) == 0 {
		g.lease.RunUntil(clock.Forever)
		return nil
	}
	g.lease.RunUntil(begin + int64(g.length))
	return nil
}

var errChanged = errors.New("something has changed meanwhile")

// askAll asks all at the same time.
func (g *group) askAll(ctx context.Context, peers []peer.Info, found []byte) error {
	errs := make([]error, len(peers))
	var asking sync.WaitGroup
	for i, p := range peers[min(1, len(peers)):] {
		asking.Go(func() { errs[i+1] = g.ask(ctx, p, found) }) // ended by ctx
	}
	if len(peers) > 0 {
		errs[0] = g.ask(ctx, peers[0], found)
	}
	asking.Wait()
	return errors.Join(errs...)
}

// ask renews the lease from one process, and returns nil also if it does not have the cache.
func (g *group) ask(ctx context.Context, p peer.Info, found []byte) error {
	begin := clock.Now()
	question := message{kind: kindAsk, own: g.session, time: g.length, ops: found}
	m := g.asks(p)
	if m != nil {
		question.session, question.seq, _ = m.stream.at()
	}
	in, err := g.bus.Request(ctx, p.ID, g.topic, question.encode())
	if err != nil {
		stopped := clock.Now()-begin > int64(g.length)*3/2 // this process was, and may be to blame
		if errors.Is(err, context.DeadlineExceeded) && m != nil && !stopped {
			g.suspect(m)
		}
		return g.unanswered(p, m, err)
	}
	answer, err := parse(in.Data)
	if err == nil && (answer.kind != kindGrant || in.From.Incarnation != p.Incarnation) {
		err = fmt.Errorf("message of kind %d of node %d in answer", answer.kind, in.From.ID)
	}
	if err == nil {
		err = g.follow(ctx, p, answer, begin)
	}
	return g.note(p, err)
}

// asks notes that a process is asked, and returns what is known of it. One question at a time is open for each.
func (g *group) asks(p peer.Info) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[p.Incarnation] = none{}
	return g.members[p.Incarnation]
}

// answered returns the member that has answered, or nil for one that shares the table. An answer takes a shorter way than
// the messages: the cache that has given it may be closed by now, and another one known in its place. Such an answer is
// void, and the process is asked again.
func (g *group) answered(p peer.Info, session uint64) (*member, error) {
	if g.table.Has(p.Incarnation) {
		return nil, nil //nolint:nilnil // no member, and no error
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[p.Incarnation]
	_, isValid := g.asked[p.Incarnation]
	if !isValid || m != nil && m.session != session {
		return nil, errChanged
	}
	return g.admitLocked(p, session), nil
}

// unanswered finds out what it means that a process has not answered.
func (g *group) unanswered(p peer.Info, m *member, err error) error {
	failed, _ := errors.AsType[*bus.PeerError](err)
	isSame := failed != nil && failed.Peer.Incarnation == p.Incarnation
	if isSame && errors.Is(err, bus.ErrNoSubscriber) && g.end(p, m) { // it has the link, and not the cache
		return nil
	}
	if errors.Is(err, bus.ErrNoPeer) || errors.Is(err, bus.ErrPeerLeft) || !isSame {
		if live, liveErr := inside.Of(g.mesh).Live(); liveErr == nil && !slices.ContainsFunc(live, func(l peer.Info) bool {
			return l.Incarnation == p.Incarnation
		}) {
			g.ended(p)
			return g.noteGone()
		}
	}
	return g.note(p, err)
}

// follow waits until a stream is applied as far as its writer has said. It takes the answer on a shorter way than the
// changes.
func (g *group) follow(ctx context.Context, p peer.Info, answer message, begin int64) error {
	m, err := g.answered(p, answer.session)
	if m == nil {
		return err
	}
	g.target.Distrust(answer.time)
	ctx, cancel := context.WithTimeout(ctx, g.length/2)
	defer cancel()
	for {
		session, applied, moved := m.stream.at()
		if g.member(p) != m {
			return errChanged
		}
		if session == answer.session && applied >= answer.seq {
			g.trust(m, begin+int64(g.length))
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			err := fmt.Errorf("%w: %d to %d", errGap, applied+1, answer.seq)
			if g.stopped.Err() == nil {
				g.desync(p, err)
			}
			return err
		}
	}
}

// trust notes until when a process waits for our confirmations.
func (g *group) trust(m *member, until int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.trusted = max(m.trusted, until)
}

// noteGone is for a process that is gone in a round. In the first one the others have to be asked again: those that have
// answered before its end have not told of the updates that it had begun.
func (g *group) noteGone() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.joined {
		return errChanged
	}
	return nil
}

// note keeps what has happened to a process, for the error of Invalidate.
func (g *group) note(p peer.Info, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		delete(g.problems, p.Incarnation)
		if m := g.members[p.Incarnation]; m != nil {
			m.silent = 0
		}
		return nil
	}
	g.problems[p.Incarnation] = Unconfirmed{Peer: p, Reason: err.Error()}
	return fmt.Errorf("node %d: %w", p.ID, err)
}

// noteFailure is note for all that an error of the bus names.
func (g *group) noteFailure(err error) error {
	if all, ok := errors.AsType[*bus.PeersError](err); ok {
		for _, one := range all.Errors {
			_ = g.note(one.Peer, one.Err)
		}
	}
	return err
}

// fenceAfter is how many rounds in a row a process does not answer before it is fenced. Each takes as long as our lease.
const fenceAfter = 2

// suspect has a process killed that hangs, if that is wanted.
func (g *group) suspect(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.silent++
	if g.fence == nil || m.silent != fenceAfter || g.left {
		return
	}
	g.log.Warn("fencing a process that hangs", "peer", m.info.ID, "pid", m.info.PID)
	g.running.Go(func() { g.fence(m.info) }) // ended by the user's function; close waits
}
