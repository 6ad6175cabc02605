package steering

import (
	"context"
	"slices"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
)

// replicas is how many nodes keep a snapshot: one at least should outlive the master.
const replicas = 4

// replicate lets nodes keep a snapshot of the map, if they don't have it.
func (g *group) replicate() {
	inodes := g.nodes.Inodes()
	if slices.Equal(inodes, g.kept) {
		return
	}
	g.kept = inodes
	told := portgroup.Snapshot{At: g.steering.kernel.Now(), Inodes: inodes}
	trusted := slices.DeleteFunc(g.callable(), func(m *member) bool { return m.Node.id == g.steering.self || m.Node.IsSuspect() })
	for _, m := range trusted[:min(replicas, len(trusted))] {
		p := m.Node                    // it may get another one later
		g.steering.running.Go(func() { // ends within callTimeout
			keep := func(ctx context.Context, a portgroup.Agent) error { return a.Keep(ctx, g.key, told) }
			_ = p.call(g.steering.ctx, keep) // others have it, and else the kernel is asked
		})
	}
}
