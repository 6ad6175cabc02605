package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// inProcess is a node of a cluster whose nodes are all in this process.
type inProcess struct {
	mesh  *peer.Mesh
	bus   *bus.Bus
	room  *room
	relay *relay
	addr  string
	close func()
}

// place is where such nodes meet.
func place(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "chat")
}

func newInProcess(t *testing.T, dir string, id int) *inProcess {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	mesh, err := peer.Join(ctx, peer.Options{Directory: dir, Self: peer.Info{Cluster: "chat", ID: id, Slot: id, Generation: 1}})
	require.NoError(t, err)
	b, err := bus.New(ctx, mesh, bus.Options{})
	require.NoError(t, err)
	n := &inProcess{mesh: mesh, bus: b, room: newRoom(id, 1000)}
	n.relay, err = newRelay(ctx, n.room, mesh, b)
	require.NoError(t, err)
	page, err := newPage(id, 1000)
	require.NoError(t, err)
	h := &handler{room: n.room, relay: n.relay, page: page}
	server := httptest.NewServer(h.routes())
	n.addr = strings.TrimPrefix(server.URL, "http://")
	n.close = sync.OnceFunc(func() {
		require.NoError(t, n.room.close(context.Background()))
		server.Close()
		n.relay.close()
		b.Close()
		mesh.Close()
	})
	t.Cleanup(n.close)
	return n
}

// only is a session without a browser, for what needs a name only.
func only(n *inProcess, name string) *session {
	s := newSession(nil, n.room, n.relay)
	n.room.mu.Lock()
	defer n.room.mu.Unlock()
	n.room.sessions[s] = name
	return s
}

func (n *inProcess) awaitTexts(t *testing.T, want ...string) {
	t.Helper()
	var texts []string
	ok := assert.Eventually(t, func() bool {
		texts = nil
		for _, m := range n.room.update(nil).Messages { // the newest first
			texts = append([]string{m.Text}, texts...)
		}
		return assert.ObjectsAreEqual(want, texts)
	}, patience, time.Millisecond)
	if !ok {
		assert.Equal(t, want, texts)
	}
}

// settle waits until nodes that were made in this order have fetched what they fetch when they start and meet, so that
// nothing comes from that any more.
func settle(t *testing.T, nodes ...*inProcess) {
	t.Helper()
	for i, asked := range nodes {
		for j, asker := range nodes {
			var want uint64 = 1 // for the meeting
			if j > i {
				want = 2 // it was there when the other started
			}
			require.Eventually(t, func() bool { return i == j || asked.received(asker.room.self) >= want }, patience, time.Millisecond)
			if i != j { // what came before has been answered when this is
				_, err := asker.bus.Request(t.Context(), asked.room.self, topicHistory, []ref{})
				require.NoError(t, err)
			}
		}
	}
}

// received returns how many messages have come from a peer.
func (n *inProcess) received(from int) uint64 {
	for _, p := range n.bus.Stats().Peers {
		if p.Peer.ID == from {
			return p.Received
		}
	}
	return 0
}

// A message is said on a node that dies when it has come to one other node only, and said again on a third.
func TestMessageSaidAgainOnAnotherNode(t *testing.T) {
	dir := place(t)
	first, second, third := newInProcess(t, dir, 1), newInProcess(t, dir, 2), newInProcess(t, dir, 3)
	m := first.room.say(only(first, "Ada"), "the-first-of-two", "twice")
	assert.Equal(t, m, first.room.say(only(first, "Ada"), m.ID, "twice"), "here it keeps its place")
	second.room.put(m)
	middle := second.room.say(only(second, "Zoe"), "the-one-between", "between")
	require.NoError(t, second.relay.spread(t.Context(), middle))

	again := third.room.say(only(third, "Ada"), m.ID, "twice")
	assert.Positive(t, again.compare(middle.stamp), "it has a later stamp at first")
	require.NoError(t, third.relay.spread(t.Context(), again))
	for _, n := range []*inProcess{first, second, third} {
		n.awaitTexts(t, "twice", "between")
		assert.Equal(t, second.room.refs(), n.room.refs())
	}
}

// What a node has given to some of the others before it ended, the rest gets from these.
func TestNodeLeavesInTheMiddleOfAMessage(t *testing.T) {
	dir := place(t)
	first, second, third := newInProcess(t, dir, 1), newInProcess(t, dir, 2), newInProcess(t, dir, 3)
	settle(t, first, second, third)
	m := first.room.say(only(first, "Ada"), "on-its-way-to-all", "half way")
	second.room.put(m)
	first.room.leaveAll()
	first.close()
	third.awaitTexts(t, "half way")
	second.awaitTexts(t, "half way")
}

// leaveAll ends the sessions that have no browser.
func (r *room) leaveAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.sessions)
}

// Two nodes whose link was cut tell each other what they have missed when it is up again.
func TestCutLinkIsMadeGood(t *testing.T) {
	dir := place(t)
	first, second := newInProcess(t, dir, 1), newInProcess(t, dir, 2)
	settle(t, first, second)
	first.room.say(only(first, "Ada"), "known-to-first-only", "first")
	second.room.say(only(second, "Zoe"), "known-to-second-only", "second")
	inside.Of(first.mesh).Cut(second.mesh.Self(), "test")
	first.awaitTexts(t, "first", "second")
	second.awaitTexts(t, "first", "second")
}

// A receipt waits for the slowest node that lives, and not for one that has left.
func TestReceiptWaitsForAllNodes(t *testing.T) {
	dir := place(t)
	first, second := newInProcess(t, dir, 1), newInProcess(t, dir, 2)
	slow, err := peer.Join(t.Context(), peer.Options{Directory: dir, Self: peer.Info{Cluster: "chat", ID: 3, Slot: 3, Generation: 1}})
	require.NoError(t, err)
	defer slow.Close()
	b, err := bus.New(t.Context(), slow, bus.Options{CloseTimeout: time.Millisecond})
	require.NoError(t, err)
	defer b.Close()
	came, answer := make(chan message), make(chan struct{})
	_, err = b.Subscribe(topicSay, func(ctx context.Context, said bus.Message) (any, error) {
		var m message
		if err := said.Decode(&m); err != nil {
			return nil, err
		}
		came <- m
		select {
		case <-answer:
		case <-ctx.Done():
		}
		return m.stamp, nil
	})
	require.NoError(t, err)
	require.NoError(t, b.Flush(t.Context()))

	c := enter(t, first.addr, "Ada")
	id := c.post("waits for an answer")
	assert.Equal(t, id, (<-came).ID)
	second.awaitTexts(t, "waits for an answer")
	assert.Empty(t, c.receipts(), "one node has not answered")
	answer <- struct{}{}
	c.await(t, "the receipt", func() bool { return len(c.acked) == 1 })

	c.post("waits for its end")
	<-came
	second.awaitTexts(t, "waits for an answer", "waits for its end")
	assert.Len(t, c.receipts(), 1, "one node has not answered")
	slow.Close()
	c.await(t, "the receipt", func() bool { return len(c.acked) == 2 })
}

// A node that starts has the history when its relay is there, in several pieces if it is large, and misses nothing of
// what is said meanwhile.
func TestNewNodeFetches(t *testing.T) {
	dir := place(t)
	first := newInProcess(t, dir, 1)
	ada := only(first, "Ada")
	const old = 700
	long := strings.Repeat("x", maxText)
	for i := range old {
		first.room.say(ada, fmt.Sprintf("old-message-%07d", i), long)
	}
	require.True(t, first.room.update(nil).More, "it does not go in one piece")

	second := newInProcess(t, dir, 2)
	assert.Equal(t, first.room.refs(), second.room.refs())

	stop, talked := make(chan struct{}), make(chan int)
	go func() { // the test stops it and waits for it
		said := 0
		for ; ; said++ {
			select {
			case <-stop:
				talked <- said
				return
			default:
				m := first.room.say(ada, fmt.Sprintf("new-message-%07d", said), "new")
				assert.NoError(t, first.relay.spread(context.Background(), m))
			}
		}
	}()
	third := newInProcess(t, dir, 3)
	had := len(third.room.refs())
	close(stop)
	said := <-talked
	assert.GreaterOrEqual(t, had, old)
	assert.Equal(t, first.room.refs(), third.room.refs())
	assert.Equal(t, first.room.refs(), second.room.refs())
	t.Logf("%d messages were said meanwhile", said)
}

func TestGuestOfTheMeshTakesNoPart(t *testing.T) {
	dir := place(t)
	first := newInProcess(t, dir, 1)
	guest, err := peer.Join(t.Context(), peer.Options{Directory: dir, Self: peer.Info{Cluster: "chat", ID: 9}})
	require.NoError(t, err)
	defer guest.Close()
	c := enter(t, first.addr, "Ada")
	c.say(t, "acknowledged without the guest")
	second := newInProcess(t, dir, 2)
	second.awaitTexts(t, "acknowledged without the guest")
}
