package reuseport

import (
	"fmt"
	"syscall"
)

// Hide lets a listener that is about to be closed get no connection any more. Handshakes that are under way and what waits
// in its queue are as before, so what follows is [Drain], and Close. It cannot be taken back without CAP_NET_RAW.
//
// A SYN that finds the listener through its group is not answered: the client sends it again after 1 s (RFC 6298, section
// 2.1), which should find another one then. Without a group, or outside of it, the listener is not found at all.
//
// A close is not safe without it, even where nothing is steered to the listener. The kernel takes it out of its group first
// and out of the table of listeners then (inet_unhash). A SYN that finds it there in between is not passed on to the group
// (inet_lookup_reuseport returns none, and inet_lhash2_lookup stays with what it has found), is answered, and its
// connection is reset. It is a matter of some 100 ns: under about 8,000 connections a second, 390,000 closes of listeners
// that were never to get any took 9 of them, and 310,000 closes of hidden ones took none.
//
// Hide binds the listener to an interface that does not exist (SO_BINDTOIFINDEX, socket(7)). It needs Linux 5.7, since
// which that takes no privilege (commit c427bfec18f2); elsewhere the error Is errors.ErrUnsupported or is that of
// setsockopt(2), and nothing has changed.
func Hide(l syscall.Conn) error {
	if err := hide(l); err != nil {
		return fmt.Errorf("reuseport: hide: %w", err)
	}
	return nil
}
