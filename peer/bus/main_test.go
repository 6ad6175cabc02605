package bus

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

func TestMain(m *testing.M) {
	for variable, run := range programs {
		if os.Getenv(variable) != "" {
			os.Exit(run())
		}
	}
	os.Exit(leaktest.Run(m))
}

// programs are the roles of the test binary beside the tests, each for an environment variable that is set.
var programs = map[string]func() int{}

// patient is how long a test waits for what has to come.
const patient = await.Limit

// limited returns a context that ends the test's patience.
func limited(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	tb.Cleanup(cancel)
	return ctx
}

// socketPair returns two ends of a Unix socket.
func socketPair(tb testing.TB) (a, b net.Conn) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "bus") //nolint:usetesting // sun_path ends at 107 bytes, a test's name may not
	require.NoError(tb, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(tb, err)
	defer l.Close()
	a, err = net.Dial("unix", l.Addr().String())
	require.NoError(tb, err)
	b, err = l.Accept()
	require.NoError(tb, err)
	return a, b
}

// node is a bus of a test, without a mesh.
type node struct {
	*Bus
	info peer.Info

	mu    sync.Mutex
	conns map[int]net.Conn
	cuts  []string
	lost  []Lost
}

func newNode(tb testing.TB, id int, opts Options) *node {
	tb.Helper()
	n := &node{info: peer.Info{Cluster: "test", ID: id, Incarnation: rendezvous.NewIncarnation()}, conns: make(map[int]net.Conn)}
	opts.OnLost = func(l Lost) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.lost = append(n.lost, l)
	}
	h := newHub(opts)
	h.mesh.self = id
	h.startWatch()
	h.mesh.cut = func(p peer.Info, reason string) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.cuts = append(n.cuts, reason)
		_ = n.conns[p.ID].Close()
	}
	n.Bus = &Bus{hub: h}
	return n
}

// join links two nodes. They are closed when the test ends.
func join(tb testing.TB, a, b *node) {
	tb.Helper()
	left, right := socketPair(tb)
	a.conns[b.info.ID], b.conns[a.info.ID] = left, right
	a.hub.open(left, b.info)
	b.hub.open(right, a.info)
	awaitLinked(tb, a, b)
	awaitLinked(tb, b, a)
	tb.Cleanup(func() {
		var closing sync.WaitGroup
		closing.Go(func() { a.Close() })
		closing.Go(func() { b.Close() })
		closing.Wait()
	})
}

func awaitLinked(tb testing.TB, a, b *node) {
	tb.Helper()
	ctx := limited(tb)
	for {
		changed := a.hub.links.change()
		if a.hub.links.has(b.info) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			tb.Fatal("no link")
		}
	}
}

// pair returns two nodes that are linked, with ids 1 and 2.
func pair(tb testing.TB, opts Options) (a, b *node) {
	tb.Helper()
	a, b = newNode(tb, 1, opts), newNode(tb, 2, opts)
	join(tb, a, b)
	return a, b
}

// star returns a node with id 0 that is linked to n others, with ids from 1.
func star(tb testing.TB, n int, opts Options) (center *node, others []*node) {
	tb.Helper()
	center = newNode(tb, 0, opts)
	for i := range n {
		other := newNode(tb, i+1, opts)
		join(tb, center, other)
		others = append(others, other)
	}
	return center, others
}

// subscribe subscribes a topic and waits until all peers know it.
func subscribe(tb testing.TB, n *node, topic string, h Handler) *Subscription {
	tb.Helper()
	s, err := n.Subscribe(topic, h)
	require.NoError(tb, err)
	require.NoError(tb, n.Flush(limited(tb)))
	return s
}

// echo answers with what it gets.
func echo(_ context.Context, m Message) (any, error) { return m.Message, nil }

// collect subscribes a topic with a channel.
func collect(tb testing.TB, n *node, topic string) <-chan string {
	tb.Helper()
	got := make(chan string, 1<<16)
	subscribe(tb, n, topic, func(_ context.Context, m Message) (any, error) {
		got <- string(m.Data)
		return nil, nil //nolint:nilnil // an empty answer
	})
	return got
}

// next returns what comes next.
func next[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patient):
		tb.Fatal("nothing has come")
		panic("unreachable")
	}
}

// eventually waits for a condition.
func eventually(tb testing.TB, condition func() bool, what string) {
	tb.Helper()
	require.Eventually(tb, condition, patient, time.Millisecond, what)
}
