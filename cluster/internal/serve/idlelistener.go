package serve

import (
	"net"
	"sync"
)

// IdleListener stands for a port on which this process does not listen: no connection ever arrives.
type IdleListener struct {
	addr   net.Addr
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*IdleListener)(nil)

// NewIdleListener returns a listener with the address addr.
func NewIdleListener(addr net.Addr) *IdleListener {
	return &IdleListener{addr: addr, closed: make(chan struct{})}
}

// Accept blocks until Close.
func (l *IdleListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
}

// Close ends every Accept. A second call does nothing.
func (l *IdleListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address that NewIdleListener has got.
func (l *IdleListener) Addr() net.Addr { return l.addr }
