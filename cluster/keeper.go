package cluster

import (
	"context"
	"sync"
)

// keeper is who keeps the groups for a node: the master for itself, and for a worker its master over the control
// stream.
type keeper interface {
	join(ctx context.Context, key portKey) error
	exclude(ctx context.Context, key portKey) (epoch int, later bool, err error)
	leave(ctx context.Context, key portKey, epoch int) (again bool, err error)
}

// keeping is the keeper that a node has; a master that hands over gets another. The zero value has none: the node is
// alone.
type keeping struct {
	mu sync.Mutex
	is keeper // guarded by mu
}

func (k *keeping) get() keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.is
}

func (k *keeping) set(is keeper) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.is = is
}

// local is the keeper of the master's own listeners.
type local struct {
	steering *steering
	party    *party
}

func (l local) join(ctx context.Context, key portKey) error {
	g, err := l.steering.group(ctx, key)
	if err != nil {
		return err
	}
	return g.join(ctx, l.party)
}

func (l local) exclude(ctx context.Context, key portKey) (epoch int, later bool, err error) {
	g, err := l.steering.group(ctx, key)
	if err != nil {
		return 0, false, err
	}
	return g.exclude(ctx, l.party)
}

func (l local) leave(ctx context.Context, key portKey, epoch int) (bool, error) {
	g, err := l.steering.group(ctx, key)
	if err != nil {
		return false, err
	}
	return g.leave(ctx, l.party, epoch)
}
