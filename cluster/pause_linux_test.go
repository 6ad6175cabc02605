package cluster

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// paused returns the slots of the nodes that are paused.
func paused(s control.Status) (slots []int) {
	for _, n := range s.Nodes {
		if n.State == control.StatePaused {
			slots = append(slots, n.Slot)
		}
	}
	return slots
}

// getsNothing checks that a slot gets no connection while the others do.
func (c *testCluster) getsNothing(t *testing.T, addr string, slot int) {
	t.Helper()
	c.awaitStatus(t, func(s control.Status) bool {
		steered := false // while the hash decides, no node has a weight
		for _, n := range s.Nodes {
			if n.Slot == slot && (n.State != control.StatePaused || n.Weight != 0) {
				return false
			}
			steered = steered || n.Weight > 0
		}
		return steered && s.Steering.Known && len(paused(s)) == 1
	})
	for range 60 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		assert.NotEqual(t, slot, a.Slot)
	}
}

// TestPause: a worker that is paused gets no new connections, also from the next masters, until it is resumed.
func TestPause(t *testing.T) {
	needSteering(t)
	t.Parallel()
	opts := orphans(t, 3)
	c := run(t, "http", opts)
	addr := c.ready(t)
	end := underLoad(t, addr)
	before := c.status(t)
	id := before.Nodes[2].ID
	c.ordered(t, fmt.Sprint("/pause/", id))
	c.getsNothing(t, addr, 2)
	c.ordered(t, fmt.Sprint("/pause/", id)) // again

	c.ordered(t, "/takeover")
	c.awaitStatus(t, func(s control.Status) bool { return s.PID != before.PID })
	c.getsNothing(t, addr, 2)
	c.ordered(t, fmt.Sprint("/resume/", id))
	survey(t, addr, 3)
	assert.Empty(t, paused(c.status(t)))

	c.ordered(t, fmt.Sprint("/pause/", before.Nodes[1].ID))
	c.getsNothing(t, addr, 1)
	c.ordered(t, "/reload") // the node that comes in its place is not paused
	survey(t, addr, 3)
	assert.Empty(t, paused(c.status(t)))
	requests, failed := end()
	assert.Empty(t, failed, "of %d", requests)
}

// TestPauseOutlivesTheMaster: after a kill the new master knows which node is paused.
func TestPauseOutlivesTheMaster(t *testing.T) {
	needSteering(t)
	t.Parallel()
	opts := orphans(t, 2)
	old := run(t, "http", opts)
	addr := old.ready(t)
	old.ordered(t, fmt.Sprint("/pause/", old.status(t).Nodes[1].ID))
	old.getsNothing(t, addr, 1)
	old.killMaster(t)
	c := run(t, "http", opts)
	assert.Equal(t, addr, c.ready(t))
	c.getsNothing(t, addr, 1)
}

// TestPauseIsRefused: for the only node that gets connections, for an unknown id, and where connections cannot be steered.
func TestPauseIsRefused(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 2, DisableMasterListen: true})
	c.ready(t)
	nodes := c.status(t).Nodes
	c.ordered(t, fmt.Sprint("/pause/", nodes[1].ID))
	code, body := c.order(t, http.MethodPost, fmt.Sprint("/pause/", nodes[2].ID))
	assert.Equal(t, http.StatusUnprocessableEntity, code)
	assert.Contains(t, body, "it is the only node that gets new connections")
	code, body = c.order(t, http.MethodPost, "/pause/99")
	assert.Equal(t, http.StatusNotFound, code, body)
	code, body = c.order(t, http.MethodPost, "/pause/first")
	assert.Equal(t, http.StatusBadRequest, code)
	assert.Contains(t, body, "no id of a node")
	assert.Equal(t, []int{1}, paused(c.status(t)))

	hashed := run(t, "http", programOptions{Nodes: 2, Steering: "hash"})
	hashed.ready(t)
	code, body = hashed.order(t, http.MethodPost, "/pause/1")
	assert.Equal(t, http.StatusNotImplemented, code)
	assert.Contains(t, body, "which cannot leave a node out")
}
