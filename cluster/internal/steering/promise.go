package steering

import (
	"github.com/multinode-go/multinode/reuseport"
)

// promise returns how connections are steered, and what may be lost then, for all ports: the least that holds for one.
func (s *Steering) promise() (reuseport.Rung, string) {
	if s.program == nil {
		return s.level, s.level.Promise()
	}
	mute, known := false, false
	for _, g := range s.groups.all() {
		d := g.status()
		if d.obstacle != "" {
			return reuseport.RungHash, queueLost + ": " + d.obstacle + "."
		}
		mute, known = mute || d.mute, known || d.members > 0
	}
	switch {
	case !known:
		return s.level, s.program.Label + " does not listen yet."
	case !mute: // it uses this package
		return s.level, s.level.Promise()
	case s.level < reuseport.RungBPF:
		return s.level, queueLost + "."
	default:
		return s.level, s.program.Promise(s.level)
	}
}

const queueLost = "A process that leaves, as planned or by a crash, loses the connections that wait in its queue"
