package steering

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// TestBorrowedListenerIsNotTheMasters: a master that has a duplicate of a listener in the moment in which it looks for its process
// does not take it for its own.
func TestBorrowedListenerIsNotTheMasters(t *testing.T) {
	const masterPID, workerPID, inode = 100, 200, 7
	agents := newAgents(nil, func() {})
	agents.self = agents.expect(0, masterPID).id
	worker := agents.expect(1, workerPID)
	s := strangers{nodes: portgroup.New[*agent](), env: &environment{agents: agents}}
	borrowed := reuseport.Owner{Inode: inode, PID: masterPID}
	own := reuseport.Owner{Inode: inode, PID: workerPID}
	for _, owners := range [][]reuseport.Owner{{borrowed, own}, {own, borrowed}} {
		found, _, _ := s.owner(owners, &member{Inode: inode})
		assert.Same(t, worker, found)
	}
	found, other, watched := s.owner([]reuseport.Owner{borrowed}, &member{Inode: inode})
	assert.Nil(t, found, "its process has just died")
	assert.Zero(t, other)
	assert.False(t, watched)
}
