package proc

import (
	"net"
	"os"
)

// SocketPair returns the two ends of a stream between Unix sockets: ours, and one for a child, which gets it as one of its
// ExtraFiles. The caller closes both.
func SocketPair() (ours net.Conn, theirs *os.File, err error) { return socketPair() }
