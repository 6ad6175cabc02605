package reuseport

import (
	"fmt"
	"syscall"
)

// QueueStats describes the accept queue of a listener, in connections.
type QueueStats struct {
	// Length is how many connections are established and wait to be accepted.
	Length int
	// Limit is the listener's backlog. The kernel compares with >, so that the queue holds one connection more; beyond
	// that it drops each SYN, and the client tries again after 1 s.
	Limit int
}

// Queue reads the accept queue of a listening TCP socket, such as a *net.TCPListener. It costs one system call, and may
// be called while others accept. It needs Linux; elsewhere the error Is errors.ErrUnsupported. For a TCP socket that
// does not listen the error Is syscall.EINVAL, as accept's is.
func Queue(l syscall.Conn) (QueueStats, error) {
	stats, err := queue(l)
	if err != nil {
		return QueueStats{}, fmt.Errorf("reuseport: accept queue: %w", err)
	}
	return stats, nil
}
