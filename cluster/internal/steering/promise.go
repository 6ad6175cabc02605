package steering

import (
	"github.com/multinode-go/multinode/reuseport"
)

// promise returns how connections are steered, and what may be lost then, for all ports: the least that holds for one.
func (s *Steering) promise() (reuseport.Rung, string) {
	if s.program == nil {
		return s.rung, s.rung.Promise()
	}
	mute, known := false, false
	for _, g := range s.all() {
		d := g.status()
		if d.obstacle != "" {
			return reuseport.RungHash, queueLost + ": " + d.obstacle + "."
		}
		mute, known = mute || d.mute, known || d.members > 0
	}
	switch {
	case !known:
		return s.rung, s.program.Label + " does not listen yet."
	case !mute: // it uses this package
		return s.rung, s.rung.Promise()
	case s.rung < reuseport.RungBPF:
		return s.rung, queueLost + "."
	default:
		return s.rung, s.program.Promise(s.rung)
	}
}

const queueLost = "A process that leaves, as planned or by a crash, loses the connections that wait in its queue"
