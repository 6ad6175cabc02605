package cluster

import (
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// change is a join or a leave of a member.
type change struct {
	*member
	joins bool
}

// maxChanges is how many changes are thought through. They make up to n! orders.
const maxChanges = 4

// presume returns who sits at each index of a group in which base were, after changes of which it is not known which
// came first: nil where that depends on it. Holes in base stay holes, unless that depends on it. It returns false where
// nothing can be said: too many have changed, or base cannot be right.
//
// Members that nobody has noticed, who came and went between two looks, make no difference: when one of them leaves, the
// last moves to its index, where it had been moved or appended without them. Only two that joined may then have changed
// places, and of those the order is never known.
func presume(base []*member, changes []change) (presumed []*member, ok bool) {
	if len(changes) > maxChanges {
		return nil, false
	}
	thinkThrough(base, changes, func(order []*member) {
		if !ok {
			presumed, ok = slices.Clone(order), true
			return
		}
		for i := range presumed {
			if presumed[i] != order[i] {
				presumed[i] = nil
			}
		}
	})
	return presumed, ok
}

// thinkThrough calls found with each order of the members that the changes may have led to.
func thinkThrough(members []*member, changes []change, found func([]*member)) {
	if len(changes) == 0 {
		found(members)
	}
	for i, c := range changes {
		if next, ok := c.apply(members); ok {
			thinkThrough(next, slices.Delete(slices.Clone(changes), i, i+1), found)
		}
	}
}

// apply returns the members after a change. It returns false if that cannot be: nobody leaves who is not there. One of
// whom it is not known where it was sat at one of the holes: they stay, and who was the last is at one of them.
func (c change) apply(members []*member) (_ []*member, ok bool) {
	order := reuseport.NewOrder(members...)
	if c.joins {
		order.Join(c.member)
		return order.Members(), true
	}
	if order.Leave(c.member) {
		return order.Members(), true
	}
	if slices.ContainsFunc(members, func(m *member) bool { return m.hole }) {
		return members[:len(members)-1], true
	}
	return members, false
}
