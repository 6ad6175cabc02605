package steering

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// A new master may look at the port before an adopted worker has told that a listener there is its own.
func TestAdoptAfterALook(t *testing.T) {
	s, err := New(Config{Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(t, err)
	reservation, err := reuseport.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer reservation.Close()
	g := newGroup(portgroup.Key{Network: "tcp", Address: "127.0.0.1:0"}, reservation, s.environment)
	p := &agent{id: 1}
	l, err := reuseport.Listen(t.Context(), "tcp", g.address, reuseport.Options{})
	require.NoError(t, err)
	defer l.Close()
	inode, err := reuseport.Inode(l)
	require.NoError(t, err)

	g.look(t.Context())
	require.Equal(t, portgroup.Stranger, g.nodes.Members()[0].Health())
	g.adopt(t.Context(), p, inode, nil)
	g.adopt(t.Context(), p, inode, nil)
	require.Len(t, g.nodes.Members(), 1, "one listener is one member")
	assert.Equal(t, portgroup.Warming, g.nodes.Members()[0].Health())
	assert.Same(t, p, g.nodes.Members()[0].Node)
	assert.Equal(t, 0, g.nodes.Index(g.nodes.Members()[0]), "where it sits is known")
}

// TestGroupOfNoReservationAfterClose: a supervised program listens just when the master ends.
func TestGroupOfNoReservationAfterClose(t *testing.T) {
	s, err := New(Config{Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(t, err)
	_, err = s.groupBy(t.Context(), portgroup.Key{Network: "tcp", Address: "127.0.0.1:1"}, func() (kernel.Reservation, error) {
		return nil, s.Close()
	})
	assert.ErrorIs(t, err, net.ErrClosed)
}

// TestListenersOfAWorkerAreNotForeign: a worker is linked before it listens. It may be both while its listeners are looked up.
func TestListenersOfAWorkerAreNotForeign(t *testing.T) {
	s, err := New(Config{Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(t, err)
	pid, asked := os.Getpid(), 0
	var l *net.TCPListener
	talks := func() bool { asked++; return l != nil }
	child := exec.Command("sleep", "1000")
	require.NoError(t, child.Start())
	defer func() { require.NoError(t, child.Process.Kill()); _ = child.Wait() }()
	_, err = s.FindForeign(t.Context(), 1, child.Process.Pid, nil, talks)
	require.NoError(t, err)
	require.Zero(t, asked, "before the process listens, the answer tells nothing")

	l, err = reuseport.Listen(t.Context(), "tcp", "127.0.0.1:0", reuseport.Options{})
	require.NoError(t, err)
	defer l.Close()
	_, err = s.FindForeign(t.Context(), 1, pid, nil, talks)
	require.ErrorIs(t, err, ErrTalks)
	assert.Equal(t, 1, asked)
	assert.Empty(t, s.groups.all(), "no group is that of a foreign program")
}

// TestHolderIsNotThePredecessor: the workers are descendants of the master that has handed over, and not its listeners.
func TestHolderIsNotThePredecessor(t *testing.T) {
	worker := exec.Command("sleep", "600")
	require.NoError(t, worker.Start())
	t.Cleanup(func() {
		_ = worker.Process.Kill()
		_ = worker.Wait()
	})
	s, err := New(Config{Force: "hash", Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	s.self = 7
	s.Precede(0)
	predecessor := s.expect(0, os.Getpid())
	assert.Same(t, predecessor, s.ofProcess(os.Getpid()))
	assert.Nil(t, s.ofProcess(worker.Process.Pid), "it is not known yet")
	known := s.expect(1, worker.Process.Pid)
	for range 20 { // the order of a map is another one each time
		assert.Same(t, known, s.ofProcess(worker.Process.Pid))
	}
}

// needSteering skips a test where connections cannot be steered.
func needSteering(t *testing.T) {
	t.Helper()
	if reuseport.Probe().Rung < reuseport.RungBPF {
		t.Skip("this kernel cannot replace a steering program under load: multinode doctor says why")
	}
}
