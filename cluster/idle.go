package cluster

import (
	"net"
	"sync"
)

// idleListener stands for a port in a master that does not listen: nothing ever arrives.
type idleListener struct {
	addr   net.Addr
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*idleListener)(nil)

func newIdleListener(addr net.Addr) *idleListener {
	return &idleListener{addr: addr, closed: make(chan struct{})}
}

// Accept blocks until Close.
func (l *idleListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
}

// Close ends Accept.
func (l *idleListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address on which the other nodes listen.
func (l *idleListener) Addr() net.Addr { return l.addr }
