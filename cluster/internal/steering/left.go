package steering

import (
	"context"
	"slices"
	"time"

	"github.com/multinode-go/multinode/reuseport"
)

// LeftListeners returns those that listen on the ports, when no node does any more. A socket may take a moment to go: it waits for
// that for some time.
func (s *Steering) LeftListeners() (left []reuseport.Owner) {
	ctx, cancel := context.WithTimeout(context.Background(), dyingTime)
	defer cancel()
	for _, g := range s.groups.all() {
		left = append(left, g.lastListeners(ctx)...)
	}
	return left
}

// lastListeners returns those that listen on the port, when no node does any more. A socket may take a moment to go: it
// waits for that until ctx ends.
func (g *group) lastListeners(ctx context.Context) []reuseport.Owner {
	var left []reuseport.Owner
	for {
		found, err := g.othersListening()
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

// othersListening returns the listeners of the port but our own sink. Each is there once, with one of its processes.
func (g *group) othersListening() ([]reuseport.Owner, error) {
	ctx := context.Background() // it does not wait
	listed, err := g.listed(ctx)
	if err != nil {
		return nil, err
	}
	if g.drain != nil {
		listed = slices.DeleteFunc(listed, func(inode uint32) bool { return inode == g.drain.Inode })
	}
	if len(listed) == 0 {
		return nil, nil
	}
	owners, err := g.steering.kernel.Owners(ctx, g.key.Network, g.address)
	owners = slices.DeleteFunc(owners, func(o reuseport.Owner) bool { return !o.Listening || !slices.Contains(listed, o.Inode) })
	return slices.CompactFunc(owners, func(a, b reuseport.Owner) bool { return a.Inode == b.Inode }), err
}
