package portgroup

import (
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// Map is the map of one port's group, whose nodes are of type N. It is not for several goroutines at the same time.
type Map[N Node] struct {
	members []*Member[N] // all that are known, in no order
	order   *reuseport.Order[*Member[N]]
	// What the order was at the last look at the kernel's list, and who has joined and left with our help since.
	base    []*Member[N]
	changes []change[N]
	unknown bool      // the order is not known at all, until the next look
	looked  bool      // there was a look
	told    *Snapshot // the newest of another master; nil when it was used

	shifts  int
	epoch   int
	weights []uint32 // by which new connections are steered, by index; nil: the kernel's hash decides
}

// New returns the map of a group in which nobody is.
func New[N Node]() *Map[N] {
	return &Map[N]{order: reuseport.NewOrder[*Member[N]](), epoch: 1}
}

// Members returns all that are known, in no order. The slice is the map's.
func (m *Map[N]) Members() []*Member[N] { return m.members }

// Order returns the members by index, with holes.
func (m *Map[N]) Order() []*Member[N] { return m.order.Members() }

// Index returns where a member sits, -1 if that is not known.
func (m *Map[N]) Index(one *Member[N]) int { return m.order.Index(one) }

// Of returns the member that is a node's, nil if there is none.
func (m *Map[N]) Of(n N) *Member[N] {
	return m.first(func(one *Member[N]) bool { return one.Node == n })
}

// ByInode returns the member with an inode, nil if there is none.
func (m *Map[N]) ByInode(inode uint32) *Member[N] {
	return m.first(func(one *Member[N]) bool { return one.Inode == inode })
}

func (m *Map[N]) first(is func(*Member[N]) bool) *Member[N] {
	if i := slices.IndexFunc(m.members, is); i >= 0 {
		return m.members[i]
	}
	return nil
}

// Shifts counts what may have moved members to other indexes: an answer to a probe that was sent before is void.
func (m *Map[N]) Shifts() int { return m.shifts }

// Epoch names the time since which no exclusion was broken: a member that got no connections when the epoch began has got
// none since. It counts from 1.
func (m *Map[N]) Epoch() int { return m.epoch }

// Leak takes note that somebody who is excluded may have got connections.
func (m *Map[N]) Leak() { m.epoch++ }

// Doubt takes note that the order may be wrong, and that somebody who is excluded may have got connections.
func (m *Map[N]) Doubt() {
	m.unknown = true
	m.Late()
}

// Join takes note of a member that has just joined.
func (m *Map[N]) Join(one *Member[N]) {
	m.members = append(m.members, one)
	m.change(change[N]{one, true})
}

// Leave takes note of a member that has just left.
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

// Adopt takes note of a listener of a node that was there before us.
func (m *Map[N]) Adopt(n N, inode uint32) {
	known := m.ByInode(inode)
	switch {
	case known != nil: // it was seen before it was told: it stays where it is
		known.Node, known.Foreign, known.Unmet = n, false, 0
	case m.Of(n) != nil:
	case m.looked:
		m.Join(&Member[N]{Node: n, Inode: inode})
	default:
		m.members = append(m.members, &Member[N]{Node: n, Inode: inode})
		m.Doubt()
	}
}

// change changes the order by a join or a leave that we know of. After two of them without a look between them the order is
// not known: a member may have been there that nobody has seen, whose leave has moved one that joined after it.
func (m *Map[N]) change(c change[N]) {
	m.unknown = m.unknown || len(m.changes) > 0
	if members, ok := c.apply(m.order.Members()); ok {
		m.order = reuseport.NewOrder(members...)
	} else {
		m.unknown = true
	}
	m.changes = append(m.changes, c)
}

func (m *Map[N]) drop(one *Member[N]) {
	m.members = slices.DeleteFunc(m.members, func(o *Member[N]) bool { return o == one })
}

// IsCertain tells whether all that can be known of the order is known.
func (m *Map[N]) IsCertain() bool { return !m.unknown && !slices.ContainsFunc(m.members, m.isLost) }

// IsUnknown tells whether nothing is known of the order, until the next look.
func (m *Map[N]) IsUnknown() bool { return m.unknown }

// isLost tells whether a node that could tell where it sits has no place in the order.
func (m *Map[N]) isLost(one *Member[N]) bool {
	return one.HasNode() && !one.Node.IsSuspect() && m.order.Index(one) < 0
}

// Look makes the members those that the kernel lists, and returns those that are gone. Of those that came and went by
// themselves since the last look the order is not known: where it matters, there are holes then.
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
	switch {
	case m.unknown && m.told != nil:
		m.restore()
	case m.unknown:
		m.Forget()
	default:
		m.redraw(others)
	}
	if m.order.Len() != len(m.members) {
		m.Forget()
	}
	m.deduce()
	if m.IsCertain() {
		m.told = nil // what we know is newer
	}
	m.looked = true
	return gone
}

// notice takes note of members that left by themselves. Each index that one of them had gets the last member. That breaks
// no exclusion if neither those indexes nor those that were beyond the group for a moment get any connections: who joined
// since the last look may have done so afterwards.
func (m *Map[N]) notice(gone []*Member[N]) {
	if len(gone) == 0 {
		return
	}
	m.shifts++
	shortest := len(m.base) - len(gone)
	for _, c := range m.changes {
		if !c.joins {
			shortest--
		}
	}
	gets := func(index int) bool { return index < 0 || index < len(m.weights) && m.weights[index] > 0 }
	leaks := m.weights == nil || slices.ContainsFunc(gone, func(one *Member[N]) bool { return gets(m.order.Index(one)) })
	for index := max(0, shortest); index < len(m.weights); index++ {
		leaks = leaks || gets(index)
	}
	if leaks {
		m.epoch++
	}
}

// Forget says that nothing is known of the order: there are holes only.
func (m *Map[N]) Forget() {
	var holes []*Member[N]
	for range m.members {
		holes = append(holes, newHole[N]())
	}
	m.order = reuseport.NewOrder(holes...)
	m.base, m.changes, m.unknown = holes, nil, false
	m.Late()
}

// redraw draws the order again after changes that we were not told of.
func (m *Map[N]) redraw(others []change[N]) {
	if len(others) > 0 {
		inferred, ok := infer(m.base, append(m.changes, others...))
		if !ok {
			m.Forget()
			return
		}
		for i, one := range inferred {
			if one == nil {
				inferred[i] = newHole[N]()
			}
		}
		m.order = reuseport.NewOrder(inferred...)
	}
	m.base, m.changes = m.order.Members(), nil
}

// Resolve takes note that a member sits at a hole.
func (m *Map[N]) Resolve(hole, one *Member[N]) {
	m.place(hole, one)
	m.deduce()
}

func (m *Map[N]) place(hole, one *Member[N]) {
	if m.order.Index(one) >= 0 {
		m.Forget() // somebody has answered for two: the group was another one for a moment
		return
	}
	members := m.order.Members()
	members[m.order.Index(hole)] = one
	m.order = reuseport.NewOrder(members...)
	m.base = members
}

// deduce fills the last hole: the one member that has no place sits there. Several holes are strangers', if all that have no
// place are.
func (m *Map[N]) deduce() {
	missing, holes := m.missing(), m.Holes()
	if len(missing) == 1 && len(holes) == 1 {
		m.place(holes[0], missing[0])
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
		if m.order.Index(one) < 0 {
			missing = append(missing, one)
		}
	}
	return missing
}

// Holes returns the holes, by index.
func (m *Map[N]) Holes() []*Member[N] {
	return slices.DeleteFunc(m.order.Members(), func(one *Member[N]) bool { return !one.hole })
}

// healths returns the health of each index.
func (m *Map[N]) healths() (all []Health) {
	nodes := 0 // that are at some hole
	for _, one := range m.missing() {
		if one.HasNode() {
			nodes++
		}
	}
	for _, one := range m.order.Members() {
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

// Evenly returns equal weights for all nodes.
func (m *Map[N]) Evenly() []uint32 {
	weights := make([]uint32, m.order.Len())
	for i, one := range m.order.Members() {
		if one.HasNode() {
			weights[i] = 1
		}
	}
	return weights
}

// Cover returns which CPU's connections each of Members is to get where only SO_INCOMING_CPU can steer, -1 for none of
// them: nil if there are too few for the CPUs, or there is nobody to leave out.
func (m *Map[N]) Cover(cpus int) []int {
	var all []Health
	for _, one := range m.members { // the order has no part in it
		all = append(all, one.Health())
	}
	return cover(all, cpus)
}

// Steered takes note by which weights new connections are steered now, nil for the kernel's hash. That sends some to those
// who are excluded, too.
func (m *Map[N]) Steered(weights []uint32) { m.weights = weights }

// Steering returns the weights by which new connections are steered, by index; nil while the hash decides.
func (m *Map[N]) Steering() []uint32 { return m.weights }

// Excludes tells whether a member gets no new connections. One of whom it is not known where it sits is at a hole, and
// gets none either.
func (m *Map[N]) Excludes(one *Member[N]) bool {
	return m.weights != nil && Percent(m.weights, m.order.Index(one)) == 0
}

// Late takes note that answers to probes are void, and that an excluded member may have got connections, as when a node may yet
// attach a program of ours that is old by now.
func (m *Map[N]) Late() {
	m.epoch++
	m.shifts++
}
