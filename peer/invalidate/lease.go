package invalidate

import (
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// leave ends the lease for good.
func (ms *membership) leave() {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.hasLeft() {
		return
	}
	close(ms.closing)
	ms.suspendLocked(true)
}

// suspendLocked ends the lease until the next round has succeeded. With flush, and when the lease was over before, it also drops
// all values.
func (ms *membership) suspendLocked(flush bool) {
	ms.gen++
	over := ms.lease.IsOver(clock.Now())
	ms.lease.Suspend()
	if flush || over {
		ms.target.Flush()
	}
	ms.wake()
}

// wake starts the next round at once.
func (ms *membership) wake() {
	select {
	case ms.kick <- none{}:
	default:
	}
}

// isAlone reports whether there are no members.
func (ms *membership) isAlone() bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.members) == 0
}

// plan returns the members to ask in a round.
func (ms *membership) plan() (gen uint64, peers []peer.Info, joined bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range ms.members {
		peers = append(peers, m.info)
	}
	return ms.gen, peers, ms.joined
}

// renew lets the lease run, counted from the begin of a round in which all members have answered. From then on all live
// processes know this one: rule 3 is here. A lease that was over begins with nothing stored: rule 6 is here.
func (ms *membership) renew(gen uint64, begin int64) error {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.gen != gen || ms.hasLeft() {
		return errChanged
	}
	if !ms.joined {
		ms.joined = true
		close(ms.known)
	}
	clear(ms.problems)
	if ms.lease.IsOver(clock.Now()) {
		ms.target.Flush()
	}
	if len(ms.members) == 0 {
		ms.lease.RunUntil(clock.Forever)
		return nil
	}
	ms.lease.RunUntil(begin + int64(ms.length))
	return nil
}
