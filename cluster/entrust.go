package cluster

import (
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/reuseport"
)

// picture tells who sat where in a group at a time. A master entrusts it to some of its nodes, from whom its successor has
// it: to ask the kernel instead takes some milliseconds in which the hash decides.
type picture struct {
	At     time.Duration `json:"at"`               // by CLOCK_MONOTONIC, nanoseconds
	Inodes []uint32      `json:"inodes,omitempty"` // by index; none: it is uncertain
}

// trustees is how many nodes keep a picture: one at least should outlive the master.
const trustees = 4

// entrust lets nodes keep the picture, if they don't have it.
func (g *group) entrust() {
	inodes := g.inodes()
	if slices.Equal(inodes, g.kept) {
		return
	}
	g.kept = inodes
	told := message{Kind: kindPicture, Picture: &picture{At: monotonic.Now(), Inodes: inodes}}
	trusted := slices.DeleteFunc(g.callable(), func(m *member) bool { return m.id == g.steering.self || m.suspect.Load() })
	for _, m := range trusted[:min(trustees, len(trusted))] {
		p := m.party                   // it may get another one later
		g.steering.running.Go(func() { // ends within callTimeout
			_, _ = g.call(g.steering.ctx, p, told) // others have it, and else the kernel is asked
		})
	}
}

// inodes returns the members by index, none while that is uncertain.
func (g *group) inodes() (inodes []uint32) {
	members := g.order.Members()
	if g.unknown || slices.ContainsFunc(members, func(m *member) bool { return m.hole }) {
		return nil
	}
	for _, m := range members {
		inodes = append(inodes, m.inode)
	}
	return inodes
}

// recall makes the picture of another master ours, with what has changed since.
func (g *group) recall() {
	told := g.told
	g.told = nil
	var changes []change
	rest := slices.Clone(g.seen)
	g.base, g.since = nil, nil
	for _, inode := range told.Inodes {
		i := slices.IndexFunc(rest, func(m *member) bool { return m.inode == inode })
		if i < 0 {
			m := &member{inode: inode}
			g.base, changes = append(g.base, m), append(changes, change{m, false})
			continue
		}
		g.base, rest = append(g.base, rest[i]), slices.Delete(rest, i, i+1)
	}
	for _, m := range rest {
		changes = append(changes, change{m, true})
	}
	if len(told.Inodes) == 0 {
		g.scatter()
		return
	}
	g.unknown = false
	g.order = reuseport.NewOrder(g.base...)
	g.redraw(changes)
}

// redraw draws the order again after changes that the master was not told of.
func (g *group) redraw(others []change) {
	if len(others) > 0 {
		presumed, ok := presume(g.base, append(g.since, others...))
		if !ok {
			g.scatter()
			return
		}
		for i, m := range presumed {
			if m == nil {
				presumed[i] = newHole()
			}
		}
		g.order = reuseport.NewOrder(presumed...)
	}
	g.base, g.since = g.order.Members(), nil
}
