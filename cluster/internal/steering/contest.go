package steering

import (
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

const (
	// passesToTrust is how often the program has to be found to be ours until it counts as ours again; twice as often if it was
	// found not to be within calm.
	passesToTrust, maxPassesToTrust = 3, 50
	calm                            = 3 * time.Second
)

// contest is the time in which another process replaces the program that steers a group.
type contest struct {
	on     bool               // the program was found not to be ours, and does not count as ours since
	untold bool               // and was not reported yet
	takers []control.Stranger // that have taken connections, as far as is known
	passes int                // how often it was found to be ours since then, in a row
	needed int                // of them
	began  time.Time
	ended  time.Time // of the last one
}

// lost notes that the program is not ours.
func (c *contest) lost(now time.Time) {
	if c.on {
		return
	}
	c.on, c.untold, c.began = true, true, now
	if c.needed = min(2*c.needed, maxPassesToTrust); c.needed == 0 || now.Sub(c.ended) > calm {
		c.needed = passesToTrust
	}
}

// won notes that the program is ours. It returns true if the contest ends by that.
func (c *contest) won(now time.Time) (ends bool) {
	if !c.on {
		return false
	}
	if c.passes++; c.passes < c.needed {
		return false
	}
	c.on, c.ended = false, now
	return true
}
