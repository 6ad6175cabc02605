package steering

import (
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/mutant"
)

// TestLeaveAfterAnExclusionWasBroken: the kernel moves an excluded member, which is the last, to the index of one that
// dies, with its connections. What has come to it is in its queue when it wants to leave: it may not, before it has been
// excluded again and has emptied its queue.
func TestLeaveAfterAnExclusionWasBroken(t *testing.T) {
	m := newMembers(t, 3)
	last := m.addSilent(4)
	m.look(t.Context())
	epoch, _, err := m.exclude(t.Context(), last)
	require.NoError(t, err)
	require.NotZero(t, epoch)
	one, err := m.listeners[3].Get(m.key)
	require.NoError(t, err)

	require.NoError(t, m.listeners[0].Close()) // it dies: the last one has its index
	length := 0
	for length == 0 {
		conn, err := net.Dial("tcp", m.address)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, conn.Close()) })
		select {
		case <-m.chosen:
		default:
		}
		length, _ = one.Queue()
	}
	again, err := m.leave(t.Context(), last, epoch)
	require.NoError(t, err)
	require.True(t, again, "a connection waits in its queue")

	epoch, _, err = m.exclude(t.Context(), last)
	require.NoError(t, err)
	require.NotZero(t, epoch)
	for length > 0 {
		conn, err := one.Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		length, _ = one.Queue()
	}
	require.NoError(t, one.Drain(t.Context()))
	again, err = m.leave(t.Context(), last, epoch)
	require.NoError(t, err)
	assert.False(t, again)
}

// TestMutants breaks rules of the code, and runs the tests that are there for them.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles this package for each mutant")
	}
	t.Parallel()
	needSteering(t)
	for name, c := range map[string]struct {
		edit mutant.Edit
		test string
	}{
		"a leave that ignores a changed epoch": {
			mutant.Edit{File: "group.go", Old: " || g.nodes.Epoch() != epoch {", New: " {"}, "TestLeaveAfterAnExclusionWasBroken",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			binary := mutant.TestBinary(t, mutant.Overlay(t, c.edit))
			output, err := exec.CommandContext(t.Context(), binary, "-test.run=^"+c.test+"$", "-test.v").CombinedOutput()
			require.Error(t, err, "the mutant survives")
			assert.Contains(t, string(output), "--- FAIL: "+c.test, "it fails by the test")
		})
	}
}
