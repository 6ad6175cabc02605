package node

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/internal/errline"
)

// Ports are those of a node.
type Ports struct {
	listeners *local.Listeners // in groups
	key       portgroup.Key    // of the main port
	addr      net.Addr
	front     func() (net.Listener, error) // returns the main port's listener; the first call makes it
	accepts   atomic.Bool                  // this node listens itself, and does not only stand for the port

	mu    sync.Mutex
	calls map[portgroup.Key]int // of Listen, with Nth 0; guarded by mu
	kept  []net.Listener        // in no group; guarded by mu
	all   []net.Addr            // on which this node accepts; guarded by mu
}

func newPorts(listeners *local.Listeners, key portgroup.Key, addr net.Addr) *Ports {
	p := &Ports{listeners: listeners, key: key, addr: addr, calls: make(map[portgroup.Key]int)}
	p.accepts.Store(true)
	return p
}

// CloseListeners closes the listeners that are in groups.
func (p *Ports) CloseListeners() error { return p.listeners.Close() }

// Addr returns the address of the main port.
func (p *Ports) Addr() net.Addr { return p.addr }

// Accepts reports whether this node accepts connections, rather than only hold the port.
func (p *Ports) Accepts() bool { return p.accepts.Load() }

// Supervise makes a node only stand for its ports.
func (p *Ports) Supervise() { p.accepts.Store(false) }

// Front returns the listener of the main port; the first call makes it.
func (p *Ports) Front() (net.Listener, error) { return p.front() }

// call counts a call of Listen, from 1.
func (p *Ports) call(key portgroup.Key) (nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[key]++
	return p.calls[key]
}

// note remembers a port on which this node accepts.
func (p *Ports) note(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, l.Addr())
}

func (p *Ports) addresses() []net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// Keep remembers a listener that is in no group, so that it is closed with the others.
func (p *Ports) Keep(l net.Listener) net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, l)
	return l
}

// shutKept makes the listeners that are in no group accept nothing more. Accept blocks until the node has ended.
func (p *Ports) shutKept(ended <-chan struct{}) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.kept {
		if a, ok := l.(*serve.Acceptor); ok {
			a.Park(ended)
			err = errline.Join(err, a.Shut())
		}
	}
	return err
}

// closeKept closes the listeners that are in no group. Their users may have closed them before.
func (p *Ports) closeKept() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.kept {
		err = errline.Join(err, l.Close())
	}
	return err
}
