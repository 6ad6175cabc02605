package reuseport

import (
	"fmt"
	"math"
	"syscall"
)

// MaxWeights is how many members of a group a Steering can tell apart.
const MaxWeights = 1024

// maxIndex is the largest index that a group can have (reuseport_grow: U16_MAX sockets).
const maxIndex = math.MaxUint16 - 1

// Steering says where the new connections of a group go. It is plain data, so that it can be sent as JSON to the
// process that attaches it. The zero value leaves the choice to the kernel's hash.
type Steering struct {
	// Weights are the shares of the members, by their index in the group: see [Order]. A member with weight 0, or
	// beyond the end, gets no new connection. A share is exact to one connection in 2^32; a weight that is smaller than
	// that part of the sum may get none. None, or all zero: the kernel's hash decides among all members.
	Weights []uint32 `json:"weights,omitempty"`

	// Mark sends the connections from one port to one member of any weight. Default: none.
	Mark *Mark `json:"mark,omitempty"`
}

// Mark finds the member at an index: a connection from TCP source port Port goes to the member at Index, so the process
// that accepts it has that member. See [Question] for the connection. Connections over IPv6 with extension headers are
// ignored.
type Mark struct {
	Port  uint16 `json:"port"`
	Index int    `json:"index"`
}

// Attach steers the group of l, a TCP listener that was opened by [Listen], in this process or in another: it replaces
// the program (SO_ATTACH_REUSEPORT_CBPF, see socket(7)) of the whole group at once. It needs no privilege. Connections
// whose SYN has arrived before, and a softirq that is running the old program, are not affected: see [Barrier].
//
// The program stays until the last member of the group is gone. An index that the group does not have lets the kernel's
// hash decide among all members, those of weight 0 included (run_bpf_filter, reuseport_select_sock). So, if another member
// of weight 0 must get no connection, the program must not return the last index when a member leaves: give the leaving
// member and the last one weight 0, close, and attach the new order.
//
// Replacing a program while connections arrive is safe only where [Support].Reattach is nil. The first one is safe
// everywhere.
//
// Errors: Is syscall.EINVAL for a Steering that makes no sense, for a socket that does not listen (it would steer a
// group of its own) and for one that does not share its port; Is syscall.EOPNOTSUPP for a Multipath TCP listener, which
// net.Listen opens; Is syscall.ENOMEM where the program is longer than net.core.optmem_max allows (before Linux 6.9,
// from some 500 weights on). Nothing has changed then. It needs Linux; elsewhere the error Is errors.ErrUnsupported.
func Attach(l syscall.Conn, s Steering) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("reuseport: attach: %w", err)
	}
	if err := attach(l, s); err != nil {
		return fmt.Errorf("reuseport: attach: %w", err)
	}
	return nil
}

func (s Steering) check() error {
	switch {
	case len(s.Weights) > MaxWeights:
		return fmt.Errorf("%d weights, and %d is the limit: %w", len(s.Weights), MaxWeights, syscall.EINVAL)
	case s.Mark == nil:
		return nil
	case s.Mark.Port == 0:
		return fmt.Errorf("a mark without a port: %w", syscall.EINVAL)
	case s.Mark.Index < 0 || s.Mark.Index > maxIndex:
		return fmt.Errorf("index %d of the mark is not one of 0 to %d: %w", s.Mark.Index, maxIndex, syscall.EINVAL)
	}
	return nil
}
