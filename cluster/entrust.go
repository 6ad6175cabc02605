package cluster

import (
	"slices"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
)

// trustees is how many nodes keep a picture: one at least should outlive the master.
const trustees = 4

// entrust lets nodes keep the picture, if they don't have it.
func (g *group) entrust() {
	inodes := g.nodes.Inodes()
	if slices.Equal(inodes, g.kept) {
		return
	}
	g.kept = inodes
	told := message{Kind: kindPicture, Picture: &portgroup.Snapshot{At: monotonic.Now(), Inodes: inodes}}
	trusted := slices.DeleteFunc(g.callable(), func(m *member) bool { return m.Node.id == g.steering.self || m.Node.IsSuspect() })
	for _, m := range trusted[:min(trustees, len(trusted))] {
		p := m.Node                    // it may get another one later
		g.steering.running.Go(func() { // ends within callTimeout
			_, _ = g.call(g.steering.ctx, p, told) // others have it, and else the kernel is asked
		})
	}
}
