//go:build linux

package bus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
)

// meshNode is a node of a mesh with a bus.
type meshNode struct {
	*Bus
	mesh *peer.Mesh

	mu   sync.Mutex
	lost []Lost
}

func makeDirectory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mesh")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return dir
}

func joinMesh(t *testing.T, dir string, id int) *peer.Mesh {
	t.Helper()
	opts := peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: id}}
	if id == 0 {
		inside.Set(&opts, inside.Options{NextID: func() int { return 0 }}) // the master, which takes no guests
	}
	mesh, err := peer.Join(limited(t), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, mesh.Close()) })
	return mesh
}

func joinBus(t *testing.T, dir string, id int, opts Options) *meshNode {
	t.Helper()
	n := &meshNode{mesh: joinMesh(t, dir, id)}
	opts.OnLost = func(l Lost) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.lost = append(n.lost, l)
	}
	var err error
	n.Bus, err = New(limited(t), n.mesh, opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, n.Close()) })
	return n
}

func (n *meshNode) peers() (ids []int) {
	for _, p := range n.Stats().Peers {
		ids = append(ids, p.Peer.ID)
	}
	return ids
}

func TestNewIsLinkedToAllThatAreThere(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	first := joinBus(t, dir, 0, Options{})
	_, err := first.Subscribe("double", func(_ context.Context, m Message) (any, error) {
		n := 0
		err := m.Decode(&n)
		return 2 * n, err
	})
	require.NoError(t, err)
	joinMesh(t, dir, 1) // is in the mesh and not on the bus
	second := joinBus(t, dir, 2, Options{})
	assert.Equal(t, []int{0}, second.peers())
	answer, err := second.Request(limited(t), 0, "double", 21)
	require.NoError(t, err)
	got := 0
	require.NoError(t, answer.Decode(&got))
	assert.Equal(t, 42, got)
	require.ErrorIs(t, second.Send(limited(t), 1, "double", 1), ErrNoPeer)
	third := joinBus(t, dir, 3, Options{})
	assert.Equal(t, []int{0, 2}, third.peers())

	_, err = New(limited(t), first.mesh, Options{})
	require.ErrorContains(t, err, "bus: ", "one bus for a mesh")
}

func TestNewEndsWithContext(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	hanging := joinMesh(t, dir, 0)
	remove, err := hanging.OnStream(streamName, nil, func(s *peer.Stream) {
		_, _ = s.Read(make([]byte, 1))
		<-t.Context().Done()
		s.Close()
	})
	require.NoError(t, err)
	defer remove()
	mesh := joinMesh(t, dir, 1)
	require.Eventually(t, func() bool { return len(inside.Of(mesh).PeersWith(streamName)) == 1 }, patient, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = New(ctx, mesh, Options{CloseTimeout: time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "bus: no link with node 0")
}

func TestPeerThatLeavesAndComesBack(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	stay := joinBus(t, dir, 0, Options{})
	got := make(chan string, 10)
	_, err := stay.Subscribe("t", func(_ context.Context, m Message) (any, error) {
		got <- string(m.Data)
		return nil, nil //nolint:nilnil // an empty answer
	})
	require.NoError(t, err)
	for i := range 3 {
		mesh, err := peer.Join(limited(t), peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: i + 1}})
		require.NoError(t, err)
		for range 2 { // a bus can be closed and opened again in the same mesh
			b, err := New(limited(t), mesh, Options{})
			require.NoError(t, err)
			require.NoError(t, b.Send(limited(t), 0, "t", i))
			require.NoError(t, b.Close())
			assert.Equal(t, strconv.Itoa(i), next(t, got))
		}
		require.NoError(t, mesh.Close())
	}
	eventually(t, func() bool { return len(stay.peers()) == 0 }, "all have left")
	assert.Empty(t, stay.lost)
}

func TestMeshClosedBeforeTheBus(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	a, b := joinBus(t, dir, 0, Options{}), joinBus(t, dir, 1, Options{})
	require.NoError(t, a.mesh.Close())
	eventually(t, func() bool { return len(b.peers()) == 0 }, "it has left")
	require.NoError(t, a.Close())
}

func TestCutPeerIsLinkedAgain(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	a, b := joinBus(t, dir, 0, Options{Window: 1000}), joinBus(t, dir, 1, Options{Window: 1000})
	release := make(chan none)
	_, err := b.Subscribe("t", func(context.Context, Message) (any, error) {
		<-release
		return nil, nil //nolint:nilnil // an empty answer
	})
	require.NoError(t, err)
	require.NoError(t, b.Flush(limited(t)))
	sent := 0
	for err == nil {
		if err = a.WhenFull(Cut).Send(limited(t), 1, "t", sent); err == nil {
			sent++
		}
	}
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, err, ErrPeerLeft)
	eventually(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.lost) == 1 && a.lost[0].Unconfirmed == sent
	}, "the sender learns of it")
	close(release)
	eventually(t, func() bool {
		_, err := a.Request(limited(t), 1, "t", 1)
		return err == nil
	}, "the link comes up again")
}

// A stream that is lost while both live is opened again, through a new membership.
func TestLostStreamIsOpenedAgain(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	a, b := joinBus(t, dir, 0, Options{}), joinBus(t, dir, 1, Options{})
	_, err := b.Subscribe("t", echo)
	require.NoError(t, err)
	require.NoError(t, b.Flush(limited(t)))
	old := a.hub.links.to(1)
	old.control(message{kind: kindFlushed, number: 99}) // which b has not asked for
	eventually(t, func() bool {
		_, err := a.Request(limited(t), 1, "t", 1)
		if err != nil && !errors.Is(err, ErrNoPeer) && !errors.Is(err, ErrPeerLeft) && !errors.Is(err, ErrNoSubscriber) {
			t.Error(err)
		}
		return err == nil && a.hub.links.to(1) != old
	}, "the link comes up again")
}
