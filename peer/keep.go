package peer

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// refusedDelay is the time between two dials to a node that refuses the link: its reason seldom goes away.
const refusedDelay = 10 * time.Second

// keeper is the state of the link to a node with a higher id.
type keeper struct {
	refused bool // guarded by core.mu; the node refuses the link, so Join does not wait for it
}

// keepers keep the links that this node dials: those to nodes with higher ids.
type keepers struct {
	*core
	dialer  dialer
	members *members
	dialed  map[node]*keeper // guarded by mu; each has a goroutine
}

// keepLink keeps the link to a node, if it is not kept already.
func (k *keepers) keepLink(n node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dialed[n] != nil || k.ended {
		return
	}
	k.dialed[n] = new(keeper)
	k.running.Go(func() { k.keep(n) }) // ended by the peer's end or by Close, which waits
}

// keep dials, runs the link, and dials again, until the peer is gone or the mesh closes.
func (k *keepers) keep(n node) {
	defer k.dropKeeper(n)
	failures := failureLog{log: k.log.With("peer", n.String())}
	for delay := minDelay; ; {
		begin := time.Now()
		err := k.dialLink(n)
		// The end of a link does not show whether the peer lives. Its lock does.
		if k.gone(n) {
			return
		}
		failures.add(err, delay)
		k.setRefused(n, isRefused(err))
		if err == nil && time.Since(begin) > maxDelay {
			delay = minDelay
		}
		// The jitter separates dialers that found a full backlog (EAGAIN) at the same moment.
		if !k.pause(delay/2 + rand.N(delay)) {
			return
		}
		delay = min(2*delay, maxDelay)
		if isRefused(err) {
			delay = refusedDelay
		}
	}
}

func (k *keepers) dropKeeper(n node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.dialed, n)
	k.changeLocked()
}

func (k *keepers) setRefused(n node, refused bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kept := k.dialed[n]; kept.refused != refused {
		kept.refused = refused
		k.changeLocked()
	}
}

func (k *keepers) dialLink(n node) error {
	stream, _, err := k.dialer.dial(context.Background(), n, linkStream)
	if err != nil {
		return err
	}
	return k.members.runLink(stream)
}

// failureLog logs the failures of one link: a refusal at once, other failures when they last, since dialing a peer that starts
// or dies fails, too. It logs the same text once.
type failureLog struct {
	log  *slog.Logger
	last string
}

func (f *failureLog) add(err error, delay time.Duration) {
	if err == nil {
		f.last = ""
		return
	}
	if lasts := delay >= maxDelay; !lasts && !isRefused(err) {
		return
	}
	if text := fmt.Sprint(err); text != f.last {
		f.last = text
		f.log.Warn("cannot link to a peer; trying again", "error", err)
	}
}
