package portgroup

import (
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// change is a join or a leave of a member.
type change[N Node] struct {
	*Member[N]
	joins bool
}

// maxChanges is how many changes are enumerated. They make up to n! orders.
const maxChanges = 4

// infer returns the member at each index of a group that was base, after changes in an unknown order: nil where the member
// depends on the order. Holes in base stay holes, unless that depends on it. It returns false where nothing can be inferred: too
// many members have changed, or base cannot be right.
//
// Members that joined and left between two looks, unseen, make no difference: when one of them leaves, the last moves to its
// index, where it had been moved or appended without them. Only two that joined may then have changed places, and of those the
// order is never known.
func infer[N Node](base []*Member[N], changes []change[N]) (inferred []*Member[N], ok bool) {
	if len(changes) > maxChanges {
		return nil, false
	}
	enumerate(base, changes, func(order []*Member[N]) {
		if !ok {
			inferred, ok = slices.Clone(order), true
			return
		}
		for i := range inferred {
			if inferred[i] != order[i] {
				inferred[i] = nil
			}
		}
	})
	return inferred, ok
}

// enumerate calls found with each order of the members that the changes may have led to.
func enumerate[N Node](members []*Member[N], changes []change[N], found func([]*Member[N])) {
	if len(changes) == 0 {
		found(members)
	}
	for i, c := range changes {
		if next, ok := c.apply(members); ok {
			enumerate(next, slices.Delete(slices.Clone(changes), i, i+1), found)
		}
	}
}

// apply returns the members after a change. It returns false if that is impossible, as a member that is not there cannot leave. A
// member without a known index sat at one of the holes: they stay, and the last member is at one of them.
func (c change[N]) apply(members []*Member[N]) (_ []*Member[N], ok bool) {
	order := reuseport.NewOrder(members...)
	if c.joins {
		order.Join(c.Member)
		return order.Members(), true
	}
	if order.Leave(c.Member) {
		return order.Members(), true
	}
	if slices.ContainsFunc(members, (*Member[N]).IsHole) {
		return members[:len(members)-1], true
	}
	return members, false
}
