package peer

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// joinBoth returns two nodes that are members for each other.
func joinBoth(t *testing.T, dir *rendezvous.Directory) (a, b *Mesh) {
	t.Helper()
	a = joinTest(t, dir, Options{})
	b, err := Join(t.Context(), Options{Directory: dir.Path(), Self: Info{Cluster: "test", ID: 1}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return a, b
}

func TestOnCloseComesBeforeThePeersKnow(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	a, b := joinBoth(t, dir)
	calls := 0
	inside.Of(b).OnClose(func() {
		calls++
		assert.Len(t, a.Peers(), 1, "it is a member")
		live, err := a.census.live()
		require.NoError(t, err)
		assert.Equal(t, b.Self().Incarnation, live[0].Incarnation)
	})
	inside.Of(b).OnClose(func() { t.Error("taken back") })()
	require.NoError(t, b.Close())
	assert.Equal(t, 1, calls)
	inside.Of(b).OnClose(func() { calls++ })
	assert.Equal(t, 2, calls, "at once after Close")
}

func TestLive(t *testing.T) {
	t.Parallel()
	dir := openTemp(t)
	a := joinTest(t, dir, Options{})
	live, err := a.census.live()
	require.NoError(t, err)
	assert.Empty(t, live)

	stranger := node{ID: 7, Incarnation: rendezvous.NewIncarnation()} // is published and joins no mesh
	p, err := dir.Publish(stranger)
	require.NoError(t, err)
	live, err = a.census.live()
	require.NoError(t, err)
	assert.Equal(t, []Info{{Cluster: a.Self().Cluster, ID: 7, Incarnation: stranger.Incarnation}}, live)
	require.NoError(t, p.Listener().Close())
	require.NoError(t, p.Withdraw())
	live, err = a.census.live()
	require.NoError(t, err)
	assert.Empty(t, live)

	solo := Solo(Info{Cluster: "test"})
	live, err = solo.census.live()
	require.NoError(t, err)
	assert.Empty(t, live)
	for _, m := range []*Mesh{a, solo} {
		require.NoError(t, m.Close())
		_, err = m.census.live()
		require.ErrorIs(t, err, net.ErrClosed)
	}
}
