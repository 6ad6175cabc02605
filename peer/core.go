package peer

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// core is the state that all parts of a mesh share: this node, the mutex, and the end.
type core struct {
	opts    Options // clone, filled in
	self    Info
	dir     *rendezvous.Directory // nil: no other node can be there
	log     *slog.Logger
	closing chan struct{} // closed by Close
	running sync.WaitGroup

	mu      sync.Mutex        // of all parts
	ended   bool              // guarded by mu; nothing is added to the parts, nor to running, once it is set
	conns   map[net.Conn]node // guarded by mu; in a dialer's handshake, a link or a stream, with the node at the other end
	changed chan struct{}     // guarded by mu; closed when the members or the dialed nodes have changed
}

type none = struct{}

func newCore(opts Options) *core {
	return &core{
		opts:    opts,
		self:    opts.Self,
		dir:     opts.inside.Directory,
		log:     opts.Logger.With("node", opts.Self.node().String()),
		closing: make(chan struct{}),
		conns:   make(map[net.Conn]node),
		changed: make(chan struct{}),
	}
}

// track makes Close close conn, unless it is released before. It returns false, with conn closed, after Close.
func (c *core) track(conn net.Conn, to node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = conn.Close()
		return false
	}
	c.conns[conn] = to
	return true
}

// release forgets a tracked conn and closes it.
func (c *core) release(conn net.Conn) error {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
	return conn.Close()
}

// use makes Close wait until running is done. It returns false after Close.
func (c *core) use() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.running.Add(1)
	}
	return !c.ended
}

// run runs f, which ends when the conns are closed or closing is. Close waits for it. It returns false after Close.
func (c *core) run(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.running.Go(f)
	return true
}

// pause waits for d and reports whether the mesh is still open.
func (c *core) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closing:
		return false
	}
}

// closeConns closes all that is tracked.
func (c *core) closeConns() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close() // its user sees the error
	}
}

// changeLocked wakes the goroutines that wait for a change.
func (c *core) changeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// gone reports whether a node has ended, and removes its files if it was killed.
func (c *core) gone(n node) bool {
	gone, err := c.dir.Sweep(n)
	if err != nil {
		c.log.Warn("cannot clean up after a peer", "peer", n.String(), "error", err)
	}
	return gone
}
