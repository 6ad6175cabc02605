package steering

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

const (
	// flapsToTell is how often a process has to be seen to join, until it is told that it comes and goes.
	flapsToTell = 3
	// flapMemory is how long Status shows a process that comes and goes after it was seen last.
	flapMemory = 5 * time.Second
	// maxHunts is how often it is tried to find out which process that is, until it is reported without its name.
	maxHunts = 10
	// maxSightings is how many strangers are remembered; one that comes after that is reported again.
	maxSightings = 256
)

// sighting is what is known of a stranger on a port. What is below the first line is guarded by the mutex of its sightings.
type sighting struct {
	control.Stranger
	seen      time.Time // last
	told      bool      // that it listens
	toldFlaps bool
}

// flaps tells whether the process comes and goes.
func (s *sightings) flaps(one *sighting) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return one != nil && one.Joins >= flapsToTell
}

// sightings are the strangers that were seen on the ports of a cluster. Each is reported once for each thing that it does.
type sightings struct {
	level  reuseport.Rung
	logger *slog.Logger
	tell   func(control.Event)

	mu     sync.Mutex
	all    []*sighting        // guarded by mu
	ghosts map[string]*ghosts // guarded by mu; by address
}

// ghosts are the listeners that came and went before it was known whose they were.
type ghosts struct {
	count, hunts int
	last         time.Time
}

func newSightings(level reuseport.Rung, logger *slog.Logger, tell func(control.Event)) *sightings {
	return &sightings{level: level, logger: logger, tell: tell, ghosts: make(map[string]*ghosts)}
}

// add takes note of a listener of a process that was not there before. PID 0 stands for a process that is not known.
func (s *sightings) add(found control.Stranger) *sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(o *sighting) bool { return o.PID == found.PID && o.Address == found.Address }
	var one *sighting
	if i := slices.IndexFunc(s.all, same); i >= 0 {
		one = s.all[i]
	} else {
		one = &sighting{Stranger: control.Stranger{PID: found.PID, Program: found.Program, Address: found.Address}}
		s.all = append(s.all, one)
		if len(s.all) > maxSightings {
			s.all = s.all[1:]
		}
	}
	one.Joins += max(1, found.Joins)
	one.seen = time.Now()
	s.report(one)
	return one
}

// vanished takes note of a listener that has gone before it was known whose it was.
func (s *sightings) vanished(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.ghosts[address]
	if one == nil || time.Since(one.last) > flapMemory {
		one = new(ghosts)
		s.ghosts[address] = one
	}
	one.count++
	one.last = time.Now()
}

// haunted tells whether listeners have vanished of late.
func (s *sightings) haunted(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ghosts[address] != nil && time.Since(s.ghosts[address].last) < flapMemory
}

// hunting tells whether it is to be found out who comes and goes: one or two may be processes that end.
func (s *sightings) hunting(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.ghosts[address]
	return one != nil && one.count >= flapsToTell
}

// caught takes note that a process was found to be the one that comes and goes, or that none was after many looks.
func (s *sightings) caught(address string, found control.Stranger, ok bool) {
	s.mu.Lock()
	one := s.ghosts[address]
	if one == nil {
		s.mu.Unlock()
		return
	}
	if one.hunts++; !ok && one.hunts < maxHunts {
		s.mu.Unlock()
		return
	}
	delete(s.ghosts, address)
	s.mu.Unlock()
	found.Address = address
	found.Joins = one.count
	s.add(found)
}

// report tells of a stranger that listens, and of one that comes and goes.
func (s *sightings) report(one *sighting) {
	attrs := []any{"pid", one.PID, "program", one.Program, "address", one.Address, "steering", s.level.String()}
	if !one.told && one.Joins < flapsToTell {
		one.told = true
		text := fmt.Sprintf("%s listens on %s and is no node of this cluster", nameOf(one.Stranger), one.Address)
		if s.level >= reuseport.RungBPF {
			text += "; it gets no connections while it only listens"
		} else {
			text += "; it gets a share of the connections"
		}
		s.logger.Warn("stranger on the port", attrs...)
		s.tell(control.Event{Kind: control.EventStranger, ID: -1, PID: one.PID, Text: text})
	}
	if one.Joins >= flapsToTell && !one.toldFlaps {
		one.toldFlaps = true
		s.logger.Warn("stranger comes and goes", append(attrs, "joins", one.Joins)...)
		s.tell(control.Event{Kind: control.EventStranger, ID: -1, PID: one.PID, Text: fmt.Sprintf(
			"%s listens on %s and stops again and again: it was seen to join %d times", nameOf(one.Stranger), one.Address, one.Joins)})
	}
}

// usurp takes note of those that were found to have taken connections by a program of their own. It returns their names, and
// whether that is new of one of them.
func (s *sightings) usurp(address string, by []control.Stranger) (names []string, others bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.Address == address && slices.ContainsFunc(by, func(o control.Stranger) bool { return o.PID == one.PID }) {
			others = others || !one.Steers
			one.Steers, one.seen = true, time.Now()
		}
	}
	for _, one := range by {
		names = append(names, nameOf(one))
	}
	return names, others
}

// of returns the strangers on a port for Status: those that are there, and those that come and go.
func (s *sightings) of(address string, there []*sighting) (all []control.Stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		flaps := one.Address == address && one.Joins >= flapsToTell && time.Since(one.seen) < flapMemory
		if flaps || slices.Contains(there, one) {
			all = append(all, one.Stranger)
		}
	}
	slices.SortFunc(all, func(a, b control.Stranger) int { return cmp.Compare(a.PID, b.PID) })
	return all
}

// meet finds out whose the listeners are of which nobody has told us: a stranger's, or those of a worker that is being
// adopted. It looks into all processes, for which nobody waits.
func (g *group) meet(ctx context.Context) (found bool) {
	g.hunt(ctx)
	if !g.hasUnmet(ctx) {
		return false
	}
	owners, err := g.steering.kernel.Owners(ctx, g.key.Network, g.address)
	if err != nil || g.take(ctx) != nil {
		return false
	}
	defer g.give()
	for _, m := range g.nodes.Members() {
		if m.Unmet == 0 {
			continue
		}
		p, other := g.steering.holder(owners, m.Inode)
		other.Address = cmp.Or(other.Address, g.address)
		switch {
		case p != nil:
			m.Node, m.Unmet, found = p, 0, true
		case other.PID != 0 || m.Unmet >= looksToFind:
			m.Foreign, m.Unmet, found = true, 0, true
			g.met[m] = g.steering.sightings.add(other)
		default:
			m.Unmet++
		}
	}
	return found
}

// hunt looks for a process that comes and goes faster than it can be seen whose listeners these are.
func (g *group) hunt(ctx context.Context) {
	sightings := g.steering.sightings
	if !sightings.hunting(g.address) {
		return
	}
	isNode := func(pid int) bool { return g.steering.ofProcess(pid) != nil }
	o, ok, err := g.steering.kernel.Visitor(ctx, g.key.Network, g.address, isNode)
	if err == nil {
		sightings.caught(g.address, control.Stranger{PID: o.PID, Program: o.Program}, ok)
	}
}

// hasUnmet tells whether there are members whose process is not known.
func (g *group) hasUnmet(ctx context.Context) bool {
	if g.take(ctx) != nil {
		return false
	}
	defer g.give()
	return slices.ContainsFunc(g.nodes.Members(), func(m *member) bool { return m.Unmet > 0 })
}

func nameOf(s control.Stranger) string {
	if s.PID == 0 {
		return "a process"
	}
	return fmt.Sprintf("process %d (%s)", s.PID, s.Program)
}
