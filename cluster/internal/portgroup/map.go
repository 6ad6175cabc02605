package portgroup

import (
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// Map is the map of one port's group, whose nodes are of type N. It is not for several goroutines at the same time.
type Map[N Node] struct {
	members []*Member[N] // all that are known, in no order
	array[N]
	exclusions
	looked bool      // there was a look
	told   *Snapshot // the newest of another master; nil when it was used
}

// New returns the map of an empty group.
func New[N Node]() *Map[N] {
	return &Map[N]{array: array[N]{order: reuseport.NewOrder[*Member[N]]()}, exclusions: exclusions{epoch: 1}}
}

// Members returns all that are known, in no order. The slice is the map's.
func (m *Map[N]) Members() []*Member[N] { return m.members }

// Of returns the member that is a node's, nil if there is none.
func (m *Map[N]) Of(n N) *Member[N] {
	return first(m.members, func(one *Member[N]) bool { return one.Node == n })
}

// ByInode returns the member with an inode, nil if there is none.
func (m *Map[N]) ByInode(inode uint32) *Member[N] {
	return first(m.members, func(one *Member[N]) bool { return one.Inode == inode })
}

func first[N Node](members []*Member[N], is func(*Member[N]) bool) *Member[N] {
	if i := slices.IndexFunc(members, is); i >= 0 {
		return members[i]
	}
	return nil
}

// Doubt notes that the order may be wrong, and that an excluded member may have got connections.
func (m *Map[N]) Doubt() {
	m.unknown = true
	m.Late()
}

// Join notes a member that has just joined.
func (m *Map[N]) Join(one *Member[N]) {
	m.members = append(m.members, one)
	m.change(change[N]{one, true})
}

// Leave notes a member that has just left.
func (m *Map[N]) Leave(one *Member[N]) {
	m.drop(one)
	m.change(change[N]{one, false})
	m.shifts++
}

// Drop takes out a member of which it is not known whether it has joined.
func (m *Map[N]) Drop(one *Member[N]) {
	m.drop(one)
	m.Doubt()
}

// Adopt notes a listener of a node that was there before us.
func (m *Map[N]) Adopt(n N, inode uint32) {
	known := m.ByInode(inode)
	switch {
	case known != nil: // a look has seen it before the join was reported: it stays where it is
		known.Node, known.Foreign, known.Unmet = n, false, 0
	case m.Of(n) != nil:
	case m.looked:
		m.Join(&Member[N]{Node: n, Inode: inode})
	default:
		m.members = append(m.members, &Member[N]{Node: n, Inode: inode})
		m.Doubt()
	}
}

func (m *Map[N]) drop(one *Member[N]) {
	m.members = slices.DeleteFunc(m.members, func(o *Member[N]) bool { return o == one })
}

// IsCertain reports whether the order is known, as far as it can be.
func (m *Map[N]) IsCertain() bool { return !m.unknown && !slices.ContainsFunc(m.members, m.isLost) }

// isLost reports whether a node that could report its probes has no place in the order.
func (m *Map[N]) isLost(one *Member[N]) bool {
	return one.HasNode() && !one.Node.IsSuspect() && m.Index(one) < 0
}

// Look makes the members those that the kernel lists, and returns those that are gone. The order of unreported joins and leaves
// since the last look is not known: where it matters, there are holes then.
func (m *Map[N]) Look(listed []uint32) (gone []*Member[N]) {
	var others []change[N]
	for _, one := range slices.Clone(m.members) {
		if !slices.Contains(listed, one.Inode) {
			gone, others = append(gone, one), append(others, change[N]{one, false})
			m.drop(one)
		}
	}
	m.notice(gone)
	for _, inode := range listed {
		if m.ByInode(inode) == nil {
			one := &Member[N]{Inode: inode, Unmet: 1}
			m.members = append(m.members, one)
			others = append(others, change[N]{one, true})
		}
	}
	known := false
	switch {
	case !m.unknown:
		known = m.redraw(others)
	case m.told != nil:
		known = m.restore(m.told, m.members)
		m.told = nil
	}
	if !known || m.order.Len() != len(m.members) {
		m.Forget()
	}
	m.deduce()
	if m.IsCertain() {
		m.told = nil // our map is newer
	}
	m.looked = true
	return gone
}

// notice notes unreported leaves of members. Each index that one of them had gets the last member. That breaks no exclusion if
// neither those indexes nor those that were beyond the group for a moment get any connections: a member that joined since the
// last look may have done so afterwards.
func (m *Map[N]) notice(gone []*Member[N]) {
	if len(gone) == 0 {
		return
	}
	m.shifts++
	leaks := slices.ContainsFunc(gone, func(one *Member[N]) bool { return m.gets(m.Index(one)) })
	for index := m.shortest(len(gone)); index < len(m.weights); index++ {
		leaks = leaks || m.gets(index)
	}
	if leaks {
		m.epoch++
	}
}

// Forget says that nothing is known of the order: there are holes only.
func (m *Map[N]) Forget() {
	m.forget(len(m.members))
	m.Late()
}

// Resolve notes that a member sits at a hole.
func (m *Map[N]) Resolve(hole, one *Member[N]) {
	if !m.fill(hole, one) {
		m.Forget() // it has answered for two: the group was another one for a moment
	}
	m.deduce()
}

// deduce fills the last hole: the one member that has no place sits there. Several holes are strangers', if all that have no
// place are.
func (m *Map[N]) deduce() {
	missing, holes := m.missing(), m.Holes()
	if len(missing) == 1 && len(holes) == 1 {
		m.fill(holes[0], missing[0])
		return
	}
	foreign := !slices.ContainsFunc(missing, func(one *Member[N]) bool { return !one.Foreign })
	for _, hole := range holes {
		hole.Foreign = foreign
	}
}

// missing returns the members of which it is not known where they are.
func (m *Map[N]) missing() (missing []*Member[N]) {
	for _, one := range m.members {
		if m.Index(one) < 0 {
			missing = append(missing, one)
		}
	}
	return missing
}

// healths returns the health of each index.
func (m *Map[N]) healths() (all []Health) {
	nodes := 0 // that are at some hole
	for _, one := range m.missing() {
		if one.HasNode() {
			nodes++
		}
	}
	for _, one := range m.Order() {
		health := one.Health()
		if one.hole && health == Unknown {
			if nodes--; nodes < 0 {
				health = Stranger // more holes than nodes
			}
		}
		all = append(all, health)
	}
	return all
}

// Weights returns by which weights new connections are to be steered, by index: nil for the kernel's hash, while too little
// is known.
func (m *Map[N]) Weights() []uint32 {
	if m.unknown || len(m.members) == 0 {
		return nil
	}
	return weigh(m.healths())
}

// Cover returns which CPU's connections each of Members is to get where only SO_INCOMING_CPU can steer, -1 for none of
// them: nil if there are too few for the CPUs, or there is no member to leave out.
func (m *Map[N]) Cover(cpus int) []int {
	var all []Health
	for _, one := range m.members { // the order has no part in it
		all = append(all, one.Health())
	}
	return cover(all, cpus)
}

// Excludes reports whether a member gets no new connections. A member without a known index is at a hole, and gets none either.
func (m *Map[N]) Excludes(one *Member[N]) bool {
	return m.weights != nil && Percent(m.weights, m.Index(one)) == 0
}

// Tell passes a snapshot of another master to the map; the next look uses it if nothing better is known.
func (m *Map[N]) Tell(s *Snapshot) {
	if !s.IsNewer(m.told) {
		return
	}
	m.told = s
	m.unknown = m.unknown || !m.IsCertain()
}

// Untell forgets the snapshots.
func (m *Map[N]) Untell() { m.told = nil }
