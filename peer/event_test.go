package peer

import (
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func events(m *Mesh) <-chan Event {
	all := make(chan Event, 100)
	m.OnEvent(func(e Event) { all <- e })
	return all
}

func TestEvents(t *testing.T) {
	d := openTemp(t)
	m := joinTest(t, d, Options{Self: Info{ID: 1}})
	early := events(m)
	low := joinTest(t, d, Options{Self: Info{ID: 0, Slot: 3, Generation: 2}})
	assert.Equal(t, Event{Type: Joined, Peer: low.Self()}, receive(t, early))
	late := events(m)
	assert.Equal(t, Event{Type: Joined, Peer: low.Self()}, receive(t, late), "that was there before")
	c := child.Start(t, childJob{Directory: d.Path(), Join: true, ID: 7})
	joined := receive(t, early)
	assert.Equal(t, []any{Joined, 7, c.Pid}, []any{joined.Type, joined.Peer.ID, joined.Peer.PID})
	assert.Equal(t, joined, receive(t, late))

	require.NoError(t, low.Close())
	left := Event{Type: Left, Peer: low.Self(), Reason: ReasonLeft}
	assert.Equal(t, left, receive(t, early))
	assert.Equal(t, left, receive(t, late))
	c.End()
	died := Event{Type: Left, Peer: joined.Peer, Reason: ReasonDied}
	assert.Equal(t, died, receive(t, early))
	assert.Equal(t, died, receive(t, late))
	assert.Empty(t, m.Peers())
	require.NoError(t, m.Close())
	assert.Empty(t, early)
	assert.Empty(t, late)
}

func TestEventsOfASlowWatcherWait(t *testing.T) {
	d := openTemp(t)
	m := joinTest(t, d, Options{Self: Info{ID: 1}})
	next, slow := make(chan none), make(chan Event, 10)
	m.OnEvent(func(e Event) { <-next; slow <- e })
	quick := events(m)
	for range 2 {
		low := joinTest(t, d, Options{Self: Info{ID: 0}})
		receive(t, quick)
		require.NoError(t, low.Close())
		receive(t, quick)
	}
	for _, want := range []EventType{Joined, Left, Joined, Left} {
		next <- none{}
		assert.Equal(t, want, receive(t, slow).Type)
	}
}

func TestRemovedWatcher(t *testing.T) {
	d := openTemp(t)
	m := joinTest(t, d, Options{Self: Info{ID: 1}})
	remove := m.OnEvent(func(Event) { t.Error("called") })
	remove()
	remove()
	all := events(m)
	joinTest(t, d, Options{Self: Info{ID: 0}})
	receive(t, all)
}

func TestCut(t *testing.T) {
	d := openTemp(t)
	lowStreams, onLow := hold(t)
	highStreams, onHigh := hold(t)
	low := joinTest(t, d, Options{Self: Info{ID: 0}}, onLow)
	high := joinTest(t, d, Options{Self: Info{ID: 1}}, onHigh)
	bystander := joinTest(t, d, Options{Self: Info{ID: 2}}, echo)
	lowEvents, highEvents := events(low), events(high)
	for _, cutter := range []*Mesh{low, high} {
		ours, theirs := receive(t, lowStreams), receive(t, highStreams)
		for ours.Peer().ID != 1 {
			ours = receive(t, lowStreams)
		}
		for theirs.Peer().ID != 0 {
			theirs = receive(t, highStreams)
		}
		cutter.members.cut(map[*Mesh]Info{low: high.Self(), high: low.Self()}[cutter], "too slow")
		_, err := io.ReadAll(ours)
		assert.True(t, err == nil || assert.ErrorIs(t, err, net.ErrClosed), "%v", err)
		_, err = io.ReadAll(theirs)
		assert.True(t, err == nil || assert.ErrorIs(t, err, net.ErrClosed), "%v", err)
		_ = ours.Close() // it may be closed already
		for _, all := range []<-chan Event{lowEvents, highEvents} {
			e := receive(t, all)
			for e.Reason != ReasonCut {
				assert.Equal(t, Joined, e.Type)
				e = receive(t, all)
			}
			assert.Equal(t, Joined, receive(t, all).Type, "it comes back")
		}
	}
	assert.Len(t, bystander.Peers(), 2)
	low.members.cut(low.Self(), "is no peer")
}

// A node that leaves before it has finished its hello has left, and not died: its peer may have it for a member already.
func TestLeaveDuringHello(t *testing.T) {
	for range 100 {
		d := openTemp(t)
		m := joinTest(t, d, Options{Self: Info{ID: 5}})
		all := events(m)
		other, err := start(t.Context(), Options{Directory: d.Path(), Self: Info{Cluster: "test", ID: 3}})
		require.NoError(t, err)
		time.Sleep(rand.N(3 * time.Millisecond)) //nolint:forbidigo // any moment will do
		require.NoError(t, other.Close())
		require.NoError(t, m.Close())
		for len(all) > 0 {
			if e := <-all; e.Type == Left {
				assert.Equal(t, ReasonLeft, e.Reason)
			}
		}
	}
}
