package steering

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
)

// groups are those of all ports.
type groups struct {
	opening chan struct{} // holds a value while a port is reserved, which may take the time of a look-up of a name

	mu     sync.Mutex // guards what follows
	byKey  map[portgroup.Key]*group
	closed bool
	holds  bool     // new groups are held, too
	held   []*group // whose turn another master has
}

func newGroups() *groups {
	return &groups{opening: make(chan struct{}, 1), byKey: make(map[portgroup.Key]*group)}
}

func (g *groups) all() []*group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.byKey))
}

// find returns the group of a port, nil if there is none yet.
func (g *groups) find(key portgroup.Key) (*group, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, net.ErrClosed
	}
	return g.byKey[key], nil
}

// open returns the group of a port. The first to ask makes it.
func (g *groups) open(ctx context.Context, key portgroup.Key, build func() (*group, error)) (*group, error) {
	select {
	case g.opening <- struct{}{}:
		defer func() { <-g.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if one, err := g.find(key); one != nil || err != nil {
		return one, err
	}
	one, err := build()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errline.Join(net.ErrClosed, one.close()) // a foreign group has no reservation
	}
	if g.holds {
		one.try()
		g.held = append(g.held, one)
	}
	g.byKey[key] = one
	return one, nil
}

// hold takes the turn of all groups, present and future, until release.
func (g *groups) hold(ctx context.Context) error {
	g.mu.Lock()
	g.holds = true
	all := slices.Collect(maps.Values(g.byKey))
	g.mu.Unlock()
	for _, one := range all {
		if err := one.take(ctx); err != nil {
			return err
		}
		g.mu.Lock()
		g.held = append(g.held, one)
		g.mu.Unlock()
	}
	return nil
}

// release gives all turns back, also after a hold that has failed. The maps of groups that were held may be wrong by now.
func (g *groups) release() {
	g.mu.Lock()
	held := g.held
	g.holds, g.held = false, nil
	g.mu.Unlock()
	for _, one := range held {
		one.nodes.Untell()
		one.doubt()
		one.give()
	}
}

// main returns the group of the main port, or where the master does not know that, of the port that most nodes share; nil while
// there is none.
func (g *groups) main(key portgroup.Key) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one := g.byKey[key]; one != nil || key != (portgroup.Key{}) {
		return one
	}
	var first *group
	most := 0
	for _, one := range g.byKey {
		members := one.status().members
		if first == nil || members > most || members == most && one.address < first.address {
			first, most = one, members
		}
	}
	return first
}

// close closes all groups. No group can be opened after it.
func (g *groups) close() (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, one := range g.byKey {
		err = errline.Join(err, one.close())
	}
	g.byKey = nil
	return err
}
