package peer

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEachNameIsAStream(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	for id := range 2 {
		m := joinTest(t, d, Options{Self: Info{ID: id}})
		for _, name := range []string{"a", "b"} {
			_, err := m.OnStream(name, nil, onStream)
			require.NoError(t, err)
		}
	}
	var names []string
	for range 4 {
		names = append(names, receive(t, streams).name)
	}
	assert.ElementsMatch(t, []string{"a", "a", "b", "b"}, names)
}

// Both sides of each stream can write and read at once, in both directions of the dial.
func TestStreamIsUsableBothWays(t *testing.T) {
	d := openTemp(t)
	done := make(chan string, 10)
	talk := func(s *Stream) {
		defer s.Close()
		_, err := s.Write([]byte("hello"))
		said, readErr := []byte(nil), s.CloseWrite()
		if readErr == nil {
			said, readErr = io.ReadAll(s)
		}
		assert.NoError(t, errors.Join(err, readErr)) //nolint:testifylint // not in the goroutine of the test
		done <- string(said)
	}
	for id := range 3 {
		joinTest(t, d, Options{Self: Info{ID: id}}, talk)
	}
	for range 6 {
		assert.Equal(t, "hello", receive(t, done))
	}
}

func TestStreamOnlyWhereBothWant(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	only := func(id int) func(Info) bool { return func(peer Info) bool { return peer.ID == id } }
	meshes := make([]*Mesh, 3)
	for id, want := range []func(Info) bool{nil, only(0), only(1)} {
		meshes[id] = joinTest(t, d, Options{Self: Info{ID: id}})
		_, err := meshes[id].OnStream("x", want, onStream)
		require.NoError(t, err)
	}
	pair := []int{receive(t, streams).Peer().ID, receive(t, streams).Peer().ID}
	assert.ElementsMatch(t, []int{0, 1}, pair)
	for _, m := range meshes { // each has told each what it wants when all are linked and told so
		require.Eventually(t, func() bool { return len(m.Peers()) == 2 }, limit, time.Millisecond)
	}
	assert.Empty(t, streams)
}

func TestStreamIsOpenedOnce(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	low := joinTest(t, d, Options{Self: Info{ID: 0}}, onStream)
	high := joinTest(t, d, Options{Self: Info{ID: 1}}, func(s *Stream) { assert.NoError(t, s.Close()) })
	receive(t, streams)
	remove, err := low.OnStream("y", nil, onStream)
	require.NoError(t, err)
	ended, onEnd := collect()
	removeHigh, err := high.OnStream("y", nil, onEnd)
	require.NoError(t, err)
	assert.Equal(t, "y", receive(t, streams).name, "and no second x")
	receive(t, ended)

	remove()
	_, err = low.OnStream("y", nil, onStream)
	require.NoError(t, err)
	assert.Equal(t, "y", receive(t, streams).name, "taken up again by the dialer")
	receive(t, ended)
	removeHigh()
	_, err = high.OnStream("y", nil, onEnd)
	require.NoError(t, err)
	assert.Equal(t, "y", receive(t, streams).name, "taken up again by its peer")
	receive(t, ended)
}

func TestOnStreamRefuses(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 0}}, echo)
	for name, want := range map[string]string{
		"x": "in use", "link": "in use", "X": "stream name", "": "stream name",
	} {
		_, err := m.OnStream(name, nil, echo)
		assert.ErrorContains(t, err, want, name)
	}
}

func TestPeersWith(t *testing.T) {
	d := openTemp(t)
	low := joinTest(t, d, Options{Self: Info{ID: 0}}, echo)
	high := joinTest(t, d, Options{Self: Info{ID: 1}})
	all := events(low)
	assert.Equal(t, Joined, receive(t, all).Type)
	assert.Empty(t, low.members.peersWith("x"))
	remove, err := high.OnStream("x", nil, echo)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(low.members.peersWith("x")) == 1 }, limit, time.Millisecond)
	remove()
	require.Eventually(t, func() bool { return len(low.members.peersWith("x")) == 0 }, limit, time.Millisecond)
}

func TestSolo(t *testing.T) {
	m := Solo(Info{Cluster: "test"})
	_, err := m.OnStream("x", nil, echo)
	require.NoError(t, err)
	m.OnEvent(func(Event) { t.Error("nobody is there") })
	m.members.cut(Info{ID: 1}, "nobody")
	assert.Empty(t, m.Peers())
	assert.NotZero(t, m.Self().Incarnation)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
}

func TestStreamNames(t *testing.T) {
	for _, good := range []string{"a", "node", "chat.v1_x-2", "."} {
		require.NoError(t, checkStream(good), good)
	}
	for _, bad := range []string{"", "A", "a b", "a/b", "ä", string(make([]byte, 65))} {
		require.ErrorContains(t, checkStream(bad), "want 1 to 64 lower-case letters", bad)
	}
}
