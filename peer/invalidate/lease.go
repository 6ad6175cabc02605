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

// suspendLocked ends the lease until the next round has succeeded. All is thrown away, too, where it is asked for and when
// the lease was over before.
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

// isAlone reports whether there is nobody to be asked for a lease.
func (ms *membership) isAlone() bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.members) == 0
}

// plan returns whom to ask.
func (ms *membership) plan() (gen uint64, peers []peer.Info, joined bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range ms.members {
		peers = append(peers, m.info)
	}
	return ms.gen, peers, ms.joined
}

// renew lets the lease run, counted from the begin of a round in which all have answered, and notes that all that live know
// this process: rule 3 is here. One that was over begins with nothing stored: so does rule 6.
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
