package steeringtest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/reuseport"
)

// Process is a fake process with listeners: the [portgroup.Agent] of its node, which cannot rejoin.
type Process struct {
	PID    int
	kernel *Kernel
	dead   chan struct{} // closed by Kill

	// What follows is guarded by mu of kernel.
	accepted  int
	listeners map[portgroup.Key]listener
	snapshots map[portgroup.Key]*portgroup.Snapshot
	expected  map[netip.AddrPort]*expectation // by source
}

// expectation is a probe connection that a process watches for.
type expectation struct{ came, forgotten chan struct{} } // each is closed then

var _ portgroup.Agent = (*Process)(nil)

// Start starts a process.
func (k *Kernel) Start(pid int) *Process {
	return &Process{
		PID: pid, kernel: k, dead: make(chan struct{}), listeners: make(map[portgroup.Key]listener),
		snapshots: make(map[portgroup.Key]*portgroup.Snapshot), expected: make(map[netip.AddrPort]*expectation),
	}
}

func (p *Process) pid() int {
	if p == nil {
		return 0
	}
	return p.PID
}

// Kill ends the process. It may be called again.
func (p *Process) Kill() {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	for _, l := range p.listeners {
		l.close()
	}
	clear(p.listeners)
	if !closed.Is(p.dead) {
		close(p.dead)
	}
}

// Accepted returns how many connections of clients the process has accepted.
func (p *Process) Accepted() int {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	return p.accepted
}

// Listener returns the inode of a listener, 0 if there is none, and the newest snapshot of its group that the process keeps.
func (p *Process) Listener(port portgroup.Key) (inode uint32, kept *portgroup.Snapshot) {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	return p.listeners[port].inode, p.snapshots[port]
}

// pass delays a message, to the process or back. A message that is lost waits for ctx.
func (p *Process) pass(ctx context.Context) error {
	p.kernel.mu.Lock()
	took, lost := p.kernel.random.Int64N(int64(p.kernel.delay)+1), p.kernel.random.Float64() < p.kernel.loss
	p.kernel.mu.Unlock()
	after := time.After(time.Duration(took))
	if lost {
		after = nil
	}
	select {
	case <-after:
		return nil
	case <-p.dead:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// at calls do with a listener of the process.
func (p *Process) at(ctx context.Context, port portgroup.Key, do func(listener) error) error {
	return p.call(ctx, func() error {
		if l, ok := p.listeners[port]; ok {
			return do(l)
		}
		return net.ErrClosed
	})
}

func (p *Process) call(ctx context.Context, do func() error) error {
	if err := p.pass(ctx); err != nil {
		return err
	}
	p.kernel.mu.Lock()
	err := net.ErrClosed
	if !closed.Is(p.dead) {
		err = do()
	}
	p.kernel.mu.Unlock()
	if lost := p.pass(ctx); lost != nil {
		return lost
	}
	return err
}

// Open implements [portgroup.Agent], as do the methods that follow.
func (p *Process) Open(ctx context.Context, port portgroup.Key, address string) (inode uint32, err error) {
	err = p.call(ctx, func() error {
		if _, ok := p.listeners[port]; !ok {
			p.listeners[port] = p.kernel.listen(p, netip.MustParseAddrPort(address))
		}
		inode = p.listeners[port].inode
		return nil
	})
	return inode, err
}

// Shut closes a listener.
func (p *Process) Shut(ctx context.Context, port portgroup.Key) error {
	return p.at(ctx, port, func(l listener) error {
		delete(p.listeners, port)
		l.close()
		return nil
	})
}

// Rejoin is not supported.
func (p *Process) Rejoin(context.Context, portgroup.Key) error { return errors.ErrUnsupported }

// Attach attaches a program.
func (p *Process) Attach(ctx context.Context, port portgroup.Key, s reuseport.Steering, until time.Duration) error {
	return p.at(ctx, port, func(l listener) error {
		if p.kernel.Now() > until {
			return errors.New("too late")
		}
		l.group.Attach(s)
		return nil
	})
}

// SetCPU does nothing.
func (p *Process) SetCPU(ctx context.Context, port portgroup.Key, _ int) error {
	return p.at(ctx, port, func(listener) error { return nil })
}

// Help does nothing: no queue is shared.
func (p *Process) Help(ctx context.Context, port portgroup.Key, _ bool) error {
	return p.at(ctx, port, func(listener) error { return nil })
}

// Expect watches for a probe connection.
func (p *Process) Expect(ctx context.Context, port portgroup.Key, source netip.AddrPort) error {
	return p.at(ctx, port, func(listener) error {
		p.expected[source] = &expectation{make(chan struct{}), make(chan struct{})}
		return nil
	})
}

// Await waits for it.
func (p *Process) Await(ctx context.Context, _ portgroup.Key, source netip.AddrPort) (inode uint32, err error) {
	p.kernel.mu.Lock()
	e := p.expected[source]
	p.kernel.mu.Unlock()
	if e == nil {
		return 0, errors.New("not expected")
	}
	select {
	case <-e.came:
		return 0, p.pass(ctx)
	case <-e.forgotten:
		return 0, errors.New("forgotten")
	case <-p.dead:
		return 0, net.ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Forget ends that.
func (p *Process) Forget(ctx context.Context, _ portgroup.Key, source netip.AddrPort) (came bool, err error) {
	err = p.call(ctx, func() error {
		if e := p.expected[source]; e != nil {
			delete(p.expected, source)
			close(e.forgotten)
			came = closed.Is(e.came)
		}
		return nil
	})
	return came, err
}

// Keep keeps a snapshot.
func (p *Process) Keep(ctx context.Context, port portgroup.Key, s portgroup.Snapshot) error {
	return p.at(ctx, port, func(listener) error {
		if s.IsNewer(p.snapshots[port]) {
			p.snapshots[port] = &s
		}
		return nil
	})
}

// Probe returns when the process has been asked.
func (p *Process) Probe(ctx context.Context) (load portgroup.Load, err error) {
	return load, p.call(ctx, func() error { return nil })
}
