package steering

import (
	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// Status returns the steering of the main port, and the share of each node, in percent, by id.
func (s *Steering) Status(key portgroup.Key) (control.Steering, map[int]float64) {
	level, promise := s.promise()
	out := control.Steering{Level: level.String(), Promise: promise}
	if s.lent != nil && s.program == nil { // a program that is not this one may know nothing of it
		out.Sharing = s.lent.Mode().String()
	}
	if level == s.support.Rung && (out.Sharing == "" || level < reuseport.RungBPF) { // what is left to have, sharing gives
		for _, a := range s.support.Advice {
			out.Advice = append(out.Advice, control.Advice{Gives: a.Gives, Command: a.Command})
		}
	}
	g := s.groups.main(key)
	if g == nil {
		return out, nil
	}
	now := g.status()
	out.Known, out.Strangers, out.Contested = now.certain, now.strangers, now.contested
	if now.contested {
		out.Promise = "Nothing is promised while another process replaces the program that steers."
	}
	if !now.asking.IsZero() {
		out.Doing, out.Since = doingAsk, now.asking
	}
	return out, now.weight
}

// doingAsk says that a master fills holes.
const doingAsk = "asking the kernel which node sits at which index of the group"

// promise returns how connections are steered, and what may be lost then: the weakest guarantee of all ports.
func (s *Steering) promise() (reuseport.Rung, string) {
	if s.program == nil {
		if s.lent != nil && s.level == reuseport.RungBPF { // other nodes accept what waits for one that crashes
			return s.level, reuseport.RungBPFMigrate.Promise()
		}
		return s.level, s.level.Promise()
	}
	mute, known := false, false
	for _, g := range s.groups.all() {
		now := g.status()
		if now.obstacle != "" {
			return reuseport.RungHash, queueLost + ": " + now.obstacle + "."
		}
		mute, known = mute || now.mute, known || now.members > 0
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
