package reuseport

import "slices"

// Order mirrors the array in which the kernel keeps the members of a group, with their indexes. A member that
// joins is appended (reuseport_add_sock); when one leaves, the last takes its place (__reuseport_detach_sock). A TCP
// socket joins at listen(2), and leaves at the last close(2) or at shutdown(2) with SHUT_RD.
//
// It is right if it gets all changes in the order in which they happened: where processes join and leave by themselves, ask
// the kernel with a [Mark]. The zero value is an empty group. It is not for several goroutines at the same time.
type Order[M comparable] struct {
	members []M
}

// NewOrder returns the picture of a group with these members, by index.
func NewOrder[M comparable](members ...M) *Order[M] {
	o := new(Order[M])
	for _, m := range members {
		o.Join(m)
	}
	return o
}

// Join appends a member. A member that has joined already keeps its index, as a socket that listens again does.
func (o *Order[M]) Join(m M) {
	if o.Index(m) < 0 {
		o.members = append(o.members, m)
	}
}

// Leave takes a member out and moves the last one to its place. It returns false if there is no such member.
func (o *Order[M]) Leave(m M) bool {
	i := o.Index(m)
	if i < 0 {
		return false
	}
	last := len(o.members) - 1
	o.members[i] = o.members[last]
	clear(o.members[last:])
	o.members = o.members[:last]
	return true
}

// Index returns the index of a member, -1 if it has not joined.
func (o *Order[M]) Index(m M) int { return slices.Index(o.members, m) }

// Members returns the members by index, in a slice of the caller's own.
func (o *Order[M]) Members() []M { return slices.Clone(o.members) }

// Len returns how many members there are.
func (o *Order[M]) Len() int { return len(o.members) }
