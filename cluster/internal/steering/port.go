package steering

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// port is a port, and what the kernel shows of it.
type port struct {
	kernel  kernel.Kernel
	key     portgroup.Key
	address string
}

// target returns the address that probe connections go to.
func (p *port) target() (*net.TCPAddr, error) { return net.ResolveTCPAddr(p.key.Network, p.address) }

func (p *port) newProbeConn(ctx context.Context) (kernel.ProbeConn, error) {
	target, err := p.target()
	if err != nil {
		return nil, err
	}
	return p.kernel.NewProbeConn(ctx, target)
}

func (p *port) listeners(ctx context.Context) ([]reuseport.Listener, error) {
	return p.kernel.Listeners(ctx, p.key.Network, p.address)
}

// listed returns the inodes of the kernel's list.
func (p *port) listed(ctx context.Context) (inodes []uint32, err error) {
	listeners, err := p.listeners(ctx)
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	return inodes, err
}

// hasListener reports whether the kernel lists a listener that satisfies is.
func (p *port) hasListener(ctx context.Context, is func(reuseport.Listener) bool) (bool, error) {
	listeners, err := p.listeners(ctx)
	return slices.ContainsFunc(listeners, is), err
}

func (p *port) owners(ctx context.Context) ([]reuseport.Owner, error) {
	return p.kernel.Owners(ctx, p.key.Network, p.address)
}

// left returns the listeners of the port, without the one with the inode but. The kernel may take a moment to remove a socket:
// left waits until none is there, or ctx ends.
func (p *port) left(ctx context.Context, but uint32) (left []reuseport.Owner) {
	for {
		found, err := p.leftNow(context.WithoutCancel(ctx), but) // which does not wait
		if err == nil {
			left = found
		}
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return left
		}
	}
}

// leftNow returns each listener once, with one of its processes.
func (p *port) leftNow(ctx context.Context, but uint32) ([]reuseport.Owner, error) {
	listed, err := p.listed(ctx)
	listed = slices.DeleteFunc(listed, func(inode uint32) bool { return inode == but })
	if err != nil || len(listed) == 0 {
		return nil, err
	}
	owners, err := p.owners(ctx)
	owners = slices.DeleteFunc(owners, func(o reuseport.Owner) bool { return !o.Listening || !slices.Contains(listed, o.Inode) })
	return slices.CompactFunc(owners, func(a, b reuseport.Owner) bool { return a.Inode == b.Inode }), err
}
