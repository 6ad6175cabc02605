package invalidate

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

func TestStaleSetBetweenProcesses(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w way) {
		t.Helper()
		nodes, h := meshOf(t, 2), newHoldable()
		reader := cacheOf(t, nodes[0].Bus, Options[string, int64]{}.in(w, 0), h.load)
		writer := cacheOf(t, nodes[1].Bus, Options[string, int64]{}.in(w, 1), h.load)
		awaitServing(t, reader, writer)
		assert.EqualValues(t, 2, staleSet(t, h, reader, writer))
		assert.EqualValues(t, 2, get(t, reader, "k"))
		assert.EqualValues(t, 2, h.reads.Load(), "the new value is stored")
	})
}

func TestInvalidateBetweenNodes(t *testing.T) {
	t.Parallel()
	eachWay(t, invalidateBetweenNodes)
}

func invalidateBetweenNodes(t *testing.T, w way) {
	t.Helper()
	nodes := meshOf(t, 3)
	var r row
	opts := Options[string, int64]{Tags: func(string, int64) []string { return []string{"tag"} }}
	caches := make([]*Cache[string, int64], 3)
	for i := range caches {
		caches[i] = cacheOf(t, nodes[i].Bus, opts.in(w, i), r.load)
	}
	awaitServing(t, caches...)
	ways := []func(c *Cache[string, int64]) error{
		func(c *Cache[string, int64]) error { return c.Invalidate(limited(t), "k") },
		func(c *Cache[string, int64]) error { return c.InvalidateTag(limited(t), "tag") },
		func(c *Cache[string, int64]) error { return c.InvalidateAll(limited(t)) },
	}
	version := int64(0)
	for range 20 {
		for _, writer := range caches {
			for _, way := range ways {
				version++
				r.value.Store(version)
				require.NoError(t, way(writer))
				for _, c := range caches {
					assert.Equal(t, version, get(t, c, "k"))
					assert.Equal(t, version, get(t, c, "k"))
				}
			}
			version++
			require.NoError(t, writer.Update(limited(t), []string{"k"}, func(context.Context) error {
				for _, c := range caches {
					get(t, c, "k")
				}
				r.value.Store(version)
				return nil
			}))
			for _, c := range caches {
				assert.Equal(t, version, get(t, c, "k"))
			}
		}
	}
	reads := r.reads.Load()
	for _, c := range caches {
		get(t, c, "k")
		assert.True(t, c.Stats().Serving)
	}
	assert.Equal(t, reads, r.reads.Load(), "it is stored")
}

// Several caches in one process, and two processes that have not the same ones.
func TestNames(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r, s row
	a := cacheOf(t, nodes[0].Bus, Options[string, int64]{Name: "a"}, r.load)
	b := cacheOf(t, nodes[0].Bus, Options[string, int64]{Name: "b"}, s.load)
	a2 := cacheOf(t, nodes[1].Bus, Options[string, int64]{Name: "a"}, r.load)
	awaitServing(t, a, a2)
	awaitServing(t, b)
	get(t, a, "k")
	get(t, b, "k")
	r.value.Store(1)
	s.value.Store(1)
	require.NoError(t, a2.Invalidate(limited(t), "k"))
	assert.EqualValues(t, 1, get(t, a, "k"))
	assert.EqualValues(t, 0, get(t, b, "k"))
	_, err := New(nodes[0].Bus, Options[string, int64]{Name: "a"}, r.load)
	require.ErrorContains(t, err, `cache "a"`)
}

func TestKeyThatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 1)
	c := cacheOf(t, nodes[0].Bus, Options[secret, int64]{}, func(context.Context, secret) (int64, error) { return 0, nil })
	require.ErrorContains(t, c.Invalidate(limited(t), secret{id: 1}), "set Options.Codec")
	require.ErrorContains(t, c.Update(limited(t), []secret{{id: 1}}, nil), "set Options.Codec")
}

// patientOptions are for tests of messages that count flushes: on a busy machine, a short lease would cause more.
func patientOptions() Options[string, int64] {
	return Options[string, int64]{Lease: maxLease, DisableSharedMemory: true}
}

// A later process is known to the others before its Invalidate counts.
func TestLaterNodes(t *testing.T) {
	t.Parallel()
	caches := comeOneByOne(t, func([]*Cache[string, int64]) {})
	for _, c := range caches {
		assert.Less(t, c.Stats().Flushes, uint64(len(caches)), "once for each other one")
	}
}

// Stored values stay when a process joins.
func TestLaterNodesThatWait(t *testing.T) {
	t.Parallel()
	caches := comeOneByOne(t, func(caches []*Cache[string, int64]) { awaitServing(t, caches...) })
	for i, c := range caches {
		assert.LessOrEqual(t, c.Stats().Flushes, uint64(i), "once for each that was there before")
	}
}

// comeOneByOne lets caches come one after the other, each of which changes something as soon as wait returns.
func comeOneByOne(t *testing.T, wait func([]*Cache[string, int64])) (caches []*Cache[string, int64]) {
	t.Helper()
	dir := makeDirectory(t)
	var r row
	for id := range 5 {
		n := join(t, dir, id)
		c := cacheOf(t, n.Bus, patientOptions(), r.load)
		caches = append(caches, c)
		wait(caches)
		r.value.Add(1)
		require.NoError(t, c.Invalidate(limited(t), "k"), "at once")
		for _, c := range caches {
			assert.Equal(t, r.value.Load(), get(t, c, "k"))
		}
		awaitServing(t, caches...)
	}
	return caches
}

func TestCacheMadeAgain(t *testing.T) {
	t.Parallel()
	eachWay(t, cacheMadeAgain)
}

func cacheMadeAgain(t *testing.T, w way) {
	t.Helper()
	nodes := meshOf(t, 2)
	var r row
	opts := Options[string, int64]{Lease: maxLease} // a wait for it would be seen
	stays := cacheOf(t, nodes[0].Bus, opts.in(w, 0), r.load)
	for range 20 {
		c, err := New(nodes[1].Bus, opts.in(w, 1), r.load)
		require.NoError(t, err)
		r.value.Add(1)
		require.NoError(t, c.Invalidate(limited(t), "k"))
		assert.Equal(t, r.value.Load(), get(t, stays, "k"))
		assert.Equal(t, r.value.Load(), get(t, c, "k"))
		require.NoError(t, c.Close())
		begin := time.Now()
		r.value.Add(1)
		require.NoError(t, stays.Invalidate(limited(t), "k"))
		assert.Less(t, time.Since(begin), maxLease/2, "nobody waits for one that is closed")
		assert.Equal(t, r.value.Load(), get(t, stays, "k"))
	}
}

// An answer takes a shorter way than the message that the cache is closed, and may be later than that.
func TestAnswerOfAClosedCache(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r row
	opts := Options[string, int64]{Lease: maxLease, DisableSharedMemory: true}
	stays := cacheOf(t, nodes[0].Bus, opts, r.load)
	asked := func() *Cache[string, int64] {
		t.Helper()
		c, err := New(nodes[1].Bus, opts, r.load)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, c.Close()) })
		awaitServing(t, stays, c)
		stays.group.members.asks(c.group.bus.Mesh().Self())
		return c
	}
	answer := func(c *Cache[string, int64]) error {
		t.Helper()
		given := wire.Message{Kind: wire.Grant, Session: c.group.session}
		return stays.group.holder.follow(limited(t), c.group.bus.Mesh().Self(), given, clock.Now())
	}
	closed := asked()
	require.NoError(t, answer(closed), "in time")
	require.NoError(t, closed.Close())
	eventually(t, func() bool { return len(stays.Stats().Peers) == 0 }, "the cache is known to be closed")
	require.ErrorIs(t, answer(closed), errChanged)
	assert.Empty(t, stays.Stats().Peers)

	next := asked()
	require.ErrorIs(t, answer(closed), errChanged, "one that is closed, in place of another one")
	require.Len(t, stays.Stats().Peers, 1)
	assert.Equal(t, next.group.session, stays.group.members.member(next.group.bus.Mesh().Self()).session)
}

// A process that closes its mesh or its bus while its cache is in use.
func TestCacheWithoutItsMesh(t *testing.T) {
	t.Parallel()
	tests := map[string]func(n *node) error{
		"mesh": func(n *node) error { return n.mesh.Close() },
		"bus":  func(n *node) error { return n.Close() },
		"both": func(n *node) error { return errors.Join(n.Close(), n.mesh.Close()) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, w way) {
				t.Helper()
				nodes := meshOf(t, 2)
				var r row
				opts := Options[string, int64]{Lease: time.Second}
				a := cacheOf(t, nodes[0].Bus, opts.in(w, 0), r.load)
				b := cacheOf(t, nodes[1].Bus, opts.in(w, 1), r.load)
				awaitServing(t, a, b)
				get(t, b, "k")
				require.NoError(t, end(nodes[1]))
				r.value.Store(1)
				require.NoError(t, a.Invalidate(limited(t), "k"))
				assert.EqualValues(t, 1, get(t, b, "k"))
				require.ErrorIs(t, b.Invalidate(limited(t), "k"), net.ErrClosed)
			})
		})
	}
}

// A bus that closes waits for its handlers, and its peers know already that the cache is not on it any more: they wait for
// it no longer, so it serves and confirms nothing.
func TestBusThatClosesSlowly(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	nodes := []*node{join(t, dir, 0), joinWith(t, dir, 1, bus.Options{CloseTimeout: patient})}
	var r row
	opts := Options[string, int64]{Lease: maxLease, DisableSharedMemory: true}
	a := cacheOf(t, nodes[0].Bus, opts, r.load)
	b := cacheOf(t, nodes[1].Bus, opts, r.load)
	awaitServing(t, a, b)
	get(t, b, "k")

	handling, release, closed := make(chan none), make(chan none), make(chan none)
	_, err := nodes[1].Subscribe("slow", func(context.Context, bus.Message) (any, error) {
		close(handling)
		<-release
		return "", nil
	})
	require.NoError(t, err)
	require.NoError(t, nodes[1].Flush(limited(t)))
	require.NoError(t, nodes[0].Send(limited(t), 1, "slow", ""))
	next(t, handling)
	go func() { // ends when it is released
		defer close(closed)
		assert.NoError(t, nodes[1].Close())
	}()
	defer func() {
		close(release)
		next(t, closed)
	}()
	eventually(t, func() bool {
		a.group.members.wake()
		return len(a.Stats().Peers) == 0
	}, "nobody waits for it any more")

	r.value.Store(1)
	require.NoError(t, a.Invalidate(limited(t), "k"))
	assert.EqualValues(t, 1, get(t, b, "k"), "a holder")
	r.value.Store(2)
	require.ErrorIs(t, b.Invalidate(limited(t), "k"), net.ErrClosed, "a writer")
}

// A message that is refused at a bound, as one of a peer that hangs for some time, is made up for.
func TestGapIsAFlush(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r row
	reader := cacheOf(t, nodes[0].Bus, patientOptions(), r.load)
	writer := cacheOf(t, nodes[1].Bus, patientOptions(), r.load)
	awaitServing(t, reader, writer)
	get(t, reader, "k")
	writer.group.writer.mu.Lock()
	writer.group.writer.seq++ // a change that no process received
	writer.group.writer.mu.Unlock()
	r.value.Store(1)
	require.NoError(t, writer.Invalidate(limited(t), "other"))
	assert.EqualValues(t, 1, get(t, reader, "k"))
	assert.EqualValues(t, 1, reader.Stats().Flushes)
	awaitServing(t, reader, writer)
	get(t, reader, "k")
	reads := r.reads.Load()
	get(t, reader, "k")
	assert.Equal(t, reads, r.reads.Load(), "it stores again")
}

// The links are cut again and again while values are changed.
func TestCutLinks(t *testing.T) {
	t.Parallel()
	eachWay(t, cutLinks)
}

func cutLinks(t *testing.T, w way) {
	t.Helper()
	nodes := meshOf(t, 3)
	var r row
	opts := Options[string, int64]{Lease: 500 * time.Millisecond}
	caches := make([]*Cache[string, int64], 3)
	for i := range caches {
		caches[i] = cacheOf(t, nodes[i].Bus, opts.in(w, i), r.load)
	}
	awaitServing(t, caches...)
	for i := range 12 {
		who := nodes[i%3].mesh
		for _, p := range who.Peers() {
			inside.Of(who).Cut(p, "test")
		}
		r.value.Add(1)
		require.NoError(t, caches[(i+i/3)%3].Invalidate(limited(t), "k"))
		for _, c := range caches {
			assert.Equal(t, r.value.Load(), get(t, c, "k"))
		}
	}
	awaitServing(t, caches...)
}

func TestManyInvalidationsAtOnce(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 3)
	var r row
	caches := make([]*Cache[string, int64], 3)
	for i := range caches {
		caches[i] = cacheOf(t, nodes[i].Bus, patientOptions(), r.load)
	}
	awaitServing(t, caches...)
	const each, keys = 50, 20
	var writers sync.WaitGroup
	for i := range 60 {
		writers.Go(func() {
			c := caches[i%3]
			for j := range each {
				key := strconv.Itoa(j % keys)
				if _, err := c.Get(context.Background(), key); err != nil {
					t.Error(err)
				}
				if err := c.Invalidate(context.Background(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	r.value.Store(1)
	var sent uint64
	for _, c := range caches {
		sent += c.Stats().Sent
		assert.EqualValues(t, 20*each, c.Stats().Changes)
		assert.Zero(t, c.Stats().Flushes)
		for j := range keys {
			require.NoError(t, c.Invalidate(limited(t), strconv.Itoa(j)))
		}
	}
	assert.Less(t, sent, uint64(60*each), "they are taken together")
	for _, c := range caches {
		for j := range keys {
			assert.EqualValues(t, 1, get(t, c, strconv.Itoa(j)))
		}
	}
}

// More keys than can wait are taken for all.
func TestInvalidationOfVeryManyKeys(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	var r row
	a := cacheOf(t, nodes[0].Bus, patientOptions(), r.load)
	b := cacheOf(t, nodes[1].Bus, patientOptions(), r.load)
	awaitServing(t, a, b)
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	get(t, b, "99999")
	r.value.Store(1)
	require.NoError(t, a.Invalidate(limited(t), keys...))
	assert.EqualValues(t, 1, get(t, b, "99999"))
	assert.EqualValues(t, 1, b.Stats().Flushes)
	require.ErrorContains(t, a.Update(limited(t), keys, nil), "make several")
}

func TestErrorNamesThePeers(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 2)
	release := make(chan none)
	var blocked sync.Once
	entered := make(chan none)
	codec := defaultCodec[string]()
	parseKey := codec.Parse
	codec.Parse = func(b []byte) (string, error) { // is called in the handler: it cannot confirm
		blocked.Do(func() {
			close(entered)
			<-release
		})
		return parseKey(b)
	}
	var r row
	opts := patientOptions()
	a := cacheOf(t, nodes[0].Bus, opts, r.load)
	opts.Codec = codec
	b := cacheOf(t, nodes[1].Bus, opts, r.load)
	awaitServing(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends when the handler runs
		<-entered
		cancel()
	}()
	err := a.Invalidate(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	unconfirmed, ok := errors.AsType[*UnconfirmedError](err)
	require.True(t, ok)
	require.Len(t, unconfirmed.Peers, 1)
	assert.Equal(t, nodes[1].mesh.Self().Incarnation, unconfirmed.Peers[0].Peer.Incarnation)
	require.ErrorContains(t, err, `invalidate: invalidate in cache "default": node 1 has not confirmed: it has not answered, and its lease ends in `)

	err = a.Update(ctx, []string{"k"}, func(context.Context) error {
		t.Error("committed")
		return nil
	})
	unconfirmed, ok = errors.AsType[*UnconfirmedError](err)
	require.True(t, ok)
	assert.True(t, unconfirmed.NotCommitted)
	assert.Equal(t, 1, strings.Count(err.Error(), "has not confirmed"), "once: %v", err)
	close(release)
	require.NoError(t, a.Invalidate(limited(t), "k"))
}

// One that lives and is not linked keeps others from being sure that all know them.
func TestNodeThatNobodyIsLinkedTo(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	n := join(t, dir, 0)
	silent, err := peer.Join(limited(t), peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: 7}}) // has no bus
	require.NoError(t, err)
	defer silent.Close()
	var r row
	c := cacheOf(t, n.Bus, Options[string, int64]{Lease: 100 * time.Millisecond}, r.load)
	var unconfirmed *UnconfirmedError
	eventually(t, func() bool { // the first time it may not have been asked yet
		require.ErrorAs(t, c.Invalidate(limited(t), "k"), &unconfirmed)
		require.ErrorIs(t, unconfirmed, errUnknown)
		return len(unconfirmed.Peers) == 1
	}, "it is named")
	assert.Equal(t, 7, unconfirmed.Peers[0].Peer.ID)
	assert.False(t, c.Stats().Serving)
	require.NoError(t, silent.Close())
	eventually(t, func() bool { return c.Invalidate(limited(t), "k") == nil }, "all that live know it")
	awaitServing(t, c)
}

func TestErrorNamesWhoHasNotConfirmed(t *testing.T) {
	t.Parallel()
	why := errors.New("too late")
	one := Unconfirmed{Peer: peer.Info{ID: 3}, Reason: "it sleeps"}
	two := Unconfirmed{Peer: peer.Info{ID: 4}, Reason: "it is gone"}
	for want, err := range map[string]*UnconfirmedError{
		"too late":                        {Err: why},
		"nothing was committed: too late": {Err: why, NotCommitted: true},
		"node 3 has not confirmed: it sleeps: too late":                                       {Err: why, Peers: []Unconfirmed{one}},
		"node 3 has not confirmed: it sleeps; node 4 has not confirmed: it is gone: too late": {Err: why, Peers: []Unconfirmed{one, two}},
	} {
		assert.EqualError(t, err, want)
	}
}
