// Package sightings remembers the processes that were seen on the ports of a cluster and are no nodes of it, and reports each
// once for each of: it listens, it appears and vanishes again and again, it steers. Its caller passes in what was seen.
package sightings

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

const (
	// flapsToTell is how often a process is seen to join until it is reported as flapping.
	flapsToTell = 3
	// flapMemory is how long Status shows a flapping process after it was last seen.
	flapMemory = 5 * time.Second
	// maxHunts is how often its name is looked for until it is reported without one.
	maxHunts = 10
	// maxSightings is how many strangers are remembered; the oldest is forgotten first, and reported again.
	maxSightings = 256
)

// Sighting is a stranger on a port. The fields below the first line are guarded by the mutex of its book.
type Sighting struct {
	control.Stranger
	seen      time.Time // last
	told      bool      // that it listens
	toldFlaps bool
}

// Book holds the sightings of all ports of a cluster. All methods may be called at the same time.
type Book struct {
	level  reuseport.Rung
	logger *slog.Logger
	tell   func(control.Event)

	mu     sync.Mutex
	all    []*Sighting        // guarded by mu
	ghosts map[string]*ghosts // guarded by mu; by address
}

// ghosts are listeners that vanished before their process was known.
type ghosts struct {
	count, hunts int
	last         time.Time
}

// New returns an empty book. By the steering level the reports say whether a stranger gets connections just by listening.
func New(level reuseport.Rung, logger *slog.Logger, tell func(control.Event)) *Book {
	return &Book{level: level, logger: logger, tell: tell, ghosts: make(map[string]*ghosts)}
}

// Add notes a listener of a process that was not there before. PID 0 stands for a process that is not known.
func (b *Book) Add(found control.Stranger) *Sighting {
	b.mu.Lock()
	defer b.mu.Unlock()
	same := func(o *Sighting) bool { return o.PID == found.PID && o.Address == found.Address }
	var one *Sighting
	if i := slices.IndexFunc(b.all, same); i >= 0 {
		one = b.all[i]
	} else {
		one = &Sighting{Stranger: control.Stranger{PID: found.PID, Program: found.Program, Address: found.Address}}
		b.all = append(b.all, one)
		if len(b.all) > maxSightings {
			b.all = b.all[1:]
		}
	}
	one.Joins += max(1, found.Joins)
	one.seen = time.Now()
	b.report(one)
	return one
}

// Flaps reports whether the process appears and vanishes again and again.
func (b *Book) Flaps(one *Sighting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return one != nil && one.Joins >= flapsToTell
}

// Vanished notes a listener that has gone before its process was known.
func (b *Book) Vanished(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.ghosts[address]
	if one == nil || time.Since(one.last) > flapMemory {
		one = new(ghosts)
		b.ghosts[address] = one
	}
	one.count++
	one.last = time.Now()
}

// Haunted reports whether listeners have vanished recently.
func (b *Book) Haunted(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ghosts[address] != nil && time.Since(b.ghosts[address].last) < flapMemory
}

// Hunting reports whether to look for a flapping process: one or two listeners may be of processes that end.
func (b *Book) Hunting(address string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.ghosts[address]
	return one != nil && one.count >= flapsToTell
}

// Caught notes that a process was found to be the flapping one, or that none was found after many looks.
func (b *Book) Caught(address string, found control.Stranger, ok bool) {
	b.mu.Lock()
	one := b.ghosts[address]
	if one == nil {
		b.mu.Unlock()
		return
	}
	if one.hunts++; !ok && one.hunts < maxHunts {
		b.mu.Unlock()
		return
	}
	delete(b.ghosts, address)
	b.mu.Unlock()
	found.Address = address
	found.Joins = one.count
	b.Add(found)
}

// report reports a stranger that listens, and a stranger that flaps.
func (b *Book) report(one *Sighting) {
	attrs := []any{"pid", one.PID, "program", one.Program, "address", one.Address, "steering", b.level.String()}
	if !one.told && one.Joins < flapsToTell {
		one.told = true
		text := fmt.Sprintf("%s listens on %s and is no node of this cluster", nameOf(one.Stranger), one.Address)
		if b.level >= reuseport.RungBPF {
			text += "; it gets no connections while it only listens"
		} else {
			text += "; it gets a share of the connections"
		}
		b.logger.Warn("stranger on the port", attrs...)
		b.tell(control.Event{Kind: control.EventStranger, ID: -1, PID: one.PID, Text: text})
	}
	if one.Joins >= flapsToTell && !one.toldFlaps {
		one.toldFlaps = true
		b.logger.Warn("stranger comes and goes", append(attrs, "joins", one.Joins)...)
		b.tell(control.Event{Kind: control.EventStranger, ID: -1, PID: one.PID, Text: fmt.Sprintf(
			"%s listens on %s and stops again and again: it was seen to join %d times", nameOf(one.Stranger), one.Address, one.Joins)})
	}
}

// Usurp notes processes that have taken connections by a program of their own. It returns their names, and whether that is
// new of one of them.
func (b *Book) Usurp(address string, by []control.Stranger) (names []string, others bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.all {
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

// Of returns the strangers on a port for Status: those that are present, and those that flap.
func (b *Book) Of(address string, there []*Sighting) (all []control.Stranger) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.all {
		flaps := one.Address == address && one.Joins >= flapsToTell && time.Since(one.seen) < flapMemory
		if flaps || slices.Contains(there, one) {
			all = append(all, one.Stranger)
		}
	}
	slices.SortFunc(all, func(one, other control.Stranger) int { return cmp.Compare(one.PID, other.PID) })
	return all
}

func nameOf(s control.Stranger) string {
	if s.PID == 0 {
		return "a process"
	}
	return fmt.Sprintf("process %d (%s)", s.PID, s.Program)
}
