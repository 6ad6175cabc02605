package portgroup

import (
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// array is the members by index, as far as that is known: a copy of the kernel's array with holes.
type array[N Node] struct {
	order *reuseport.Order[*Member[N]]
	// The order at the last look at the kernel's list, and the joins and leaves with our help since.
	base    []*Member[N]
	changes []change[N]
	unknown bool // the order is not known at all, until the next look
}

// Order returns the members by index, with holes.
func (a *array[N]) Order() []*Member[N] { return a.order.Members() }

// Index returns where a member sits, -1 if that is not known.
func (a *array[N]) Index(one *Member[N]) int { return a.order.Index(one) }

// Holes returns the holes, by index.
func (a *array[N]) Holes() []*Member[N] {
	return slices.DeleteFunc(a.Order(), func(one *Member[N]) bool { return !one.hole })
}

// IsUnknown reports whether nothing is known of the order, until the next look.
func (a *array[N]) IsUnknown() bool { return a.unknown }

// Inodes returns the listeners by index, for a snapshot: none while that is uncertain.
func (a *array[N]) Inodes() (inodes []uint32) {
	members := a.Order()
	if a.unknown || slices.ContainsFunc(members, (*Member[N]).IsHole) {
		return nil
	}
	for _, one := range members {
		inodes = append(inodes, one.Inode)
	}
	return inodes
}

// Evenly returns equal weights for all nodes.
func (a *array[N]) Evenly() []uint32 {
	weights := make([]uint32, a.order.Len())
	for i, one := range a.Order() {
		if one.HasNode() {
			weights[i] = 1
		}
	}
	return weights
}

// change applies a join or a leave that was reported. After two of them without a look between them the order is not known: a
// member that was never seen may have been there, and its leave has moved another one that joined after it.
func (a *array[N]) change(c change[N]) {
	a.unknown = a.unknown || len(a.changes) > 0
	if members, ok := c.apply(a.Order()); ok {
		a.order = reuseport.NewOrder(members...)
	} else {
		a.unknown = true
	}
	a.changes = append(a.changes, c)
}

// redraw infers the order after changes that were not reported. It returns false where nothing can be inferred.
func (a *array[N]) redraw(others []change[N]) (ok bool) {
	if len(others) > 0 {
		inferred, ok := infer(a.base, append(a.changes, others...))
		if !ok {
			return false
		}
		for i, one := range inferred {
			if one == nil {
				inferred[i] = newHole[N]()
			}
		}
		a.order = reuseport.NewOrder(inferred...)
	}
	a.base, a.changes = a.Order(), nil
	return true
}

// restore makes the snapshot of another master the order, with the joins and leaves since then.
func (a *array[N]) restore(told *Snapshot, members []*Member[N]) (ok bool) {
	if len(told.Inodes) == 0 {
		return false
	}
	var changes []change[N]
	rest := slices.Clone(members)
	a.base, a.changes = nil, nil
	for _, inode := range told.Inodes {
		i := slices.IndexFunc(rest, func(one *Member[N]) bool { return one.Inode == inode })
		if i < 0 {
			one := &Member[N]{Inode: inode}
			a.base, changes = append(a.base, one), append(changes, change[N]{one, false})
			continue
		}
		a.base, rest = append(a.base, rest[i]), slices.Delete(rest, i, i+1)
	}
	for _, one := range rest {
		changes = append(changes, change[N]{one, true})
	}
	a.unknown = false
	a.order = reuseport.NewOrder(a.base...)
	return a.redraw(changes)
}

// forget makes an array of holes.
func (a *array[N]) forget(length int) {
	var holes []*Member[N]
	for range length {
		holes = append(holes, newHole[N]())
	}
	a.order = reuseport.NewOrder(holes...)
	a.base, a.changes, a.unknown = holes, nil, false
}

// fill puts a member into a hole. It returns false if the member has another place.
func (a *array[N]) fill(hole, one *Member[N]) (ok bool) {
	if a.Index(one) >= 0 {
		return false
	}
	members := a.Order()
	members[a.Index(hole)] = one
	a.order = reuseport.NewOrder(members...)
	a.base = members
	return true
}

// shortest returns how short the array may have been for a moment since the last look, if so many have left by themselves.
func (a *array[N]) shortest(gone int) int {
	length := len(a.base) - gone
	for _, c := range a.changes {
		if !c.joins {
			length--
		}
	}
	return max(0, length)
}
