package steering

import (
	"context"
	"slices"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
)

// maxReplicas is how many nodes keep a snapshot: one at least should outlive the master.
const maxReplicas = 4

// replicas are the snapshots of a group's map that nodes keep for the next master.
type replicas struct {
	program *program
	env     *environment
	kept    []uint32 // inodes by index
}

// renew sends nodes a snapshot of the map, if it has changed.
func (r *replicas) renew() {
	p, inodes := r.program, r.program.nodes.Inodes()
	if slices.Equal(inodes, r.kept) {
		return
	}
	r.kept = inodes
	told := portgroup.Snapshot{At: p.port.kernel.Now(), Inodes: inodes}
	healthy := slices.DeleteFunc(p.callable(), func(m *member) bool { return m.Node.id == r.env.self || m.Node.IsSuspect() })
	for _, m := range healthy[:min(maxReplicas, len(healthy))] {
		a := m.Node       // it may get another one later
		r.env.Go(func() { // ends within callTimeout
			keep := func(ctx context.Context, link portgroup.Agent) error { return link.Keep(ctx, p.port.key, told) }
			_ = a.call(r.env.ctx, keep) // others have it, and else the kernel is asked
		})
	}
}
