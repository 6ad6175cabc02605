package invalidate

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

func TestMain(m *testing.M) {
	for variable, run := range programs {
		if os.Getenv(variable) != "" {
			os.Exit(run())
		}
	}
	os.Exit(leaktest.Run(m))
}

// programs are the programs of the test binary, by the environment variable that selects each.
var programs = map[string]func() int{}

// patient bounds the wait of a test for an event.
const patient = await.Limit

func limited(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	tb.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition.
func eventually(tb testing.TB, condition func() bool, what string) {
	tb.Helper()
	require.Eventually(tb, condition, patient, time.Millisecond, what)
}

// next returns the next value.
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

// cacheOf makes a cache, which is closed when the test ends.
func cacheOf[K comparable, V any](tb testing.TB, b *bus.Bus, opts Options[K, V], load func(context.Context, K) (V, error)) *Cache[K, V] {
	tb.Helper()
	c, err := New(b, opts, load)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, c.Close()) })
	return c
}

// way selects the nodes that exchange messages; the others share memory.
type way func(node int) bool

func byMessages(int) bool { return true }

// eachWay runs a test in each way.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	ways := map[string]way{
		"shared":   func(int) bool { return false },
		"messages": byMessages,
		"mixed":    func(node int) bool { return node%2 == 1 },
	}
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// in returns options for a node.
func (o Options[K, V]) in(w way, node int) Options[K, V] {
	o.DisableSharedMemory = w(node)
	return o
}

// row is a row of a database that counts how often it was read.
type row struct {
	value, reads atomic.Int64
}

func (r *row) load(context.Context, string) (int64, error) {
	r.reads.Add(1)
	return r.value.Load(), nil
}

// holdable is a loader that can be held between reading and returning.
type holdable struct {
	row
	hold    atomic.Bool
	read    chan none // a load that is held has read
	release chan none
}

func newHoldable() *holdable { return &holdable{read: make(chan none), release: make(chan none)} }

func (h *holdable) load(ctx context.Context, key string) (int64, error) {
	held := h.hold.Swap(false)
	v, err := h.row.load(ctx, key)
	if held {
		h.read <- none{}
		<-h.release
	}
	return v, err
}

// node is a node of a mesh in this process.
type node struct {
	*bus.Bus
	mesh *peer.Mesh
}

func makeDirectory(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "mesh")
	require.NoError(tb, os.Mkdir(dir, 0o700))
	return dir
}

func join(tb testing.TB, dir string, id int) *node {
	tb.Helper()
	return joinWith(tb, dir, id, bus.Options{CloseTimeout: 100 * time.Millisecond})
}

// joinLogged is join for a node whose mesh has a logger.
func joinLogged(tb testing.TB, dir string, id int, log *records) *node {
	tb.Helper()
	return joinMesh(tb, peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: id}, Logger: slog.New(log)}, bus.Options{})
}

func joinWith(tb testing.TB, dir string, id int, busOpts bus.Options) *node {
	tb.Helper()
	return joinMesh(tb, peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: id}}, busOpts)
}

func joinMesh(tb testing.TB, opts peer.Options, busOpts bus.Options) *node {
	tb.Helper()
	if opts.Self.ID == 0 {
		inside.Set(&opts, inside.Options{NextID: func() int { return 0 }}) // the master, which takes no guests
	}
	mesh, err := peer.Join(limited(tb), opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, mesh.Close()) })
	b, err := bus.New(limited(tb), mesh, busOpts)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, b.Close()) })
	return &node{b, mesh}
}

// mesh returns so many nodes.
func meshOf(tb testing.TB, n int) (nodes []*node) {
	tb.Helper()
	dir := makeDirectory(tb)
	for id := range n {
		nodes = append(nodes, join(tb, dir, id))
	}
	return nodes
}

func awaitServing[K comparable, V any](tb testing.TB, caches ...*Cache[K, V]) {
	tb.Helper()
	for _, c := range caches {
		eventually(tb, func() bool {
			s := c.Stats()
			return s.Serving && (c.group == nil || len(s.Peers) == len(caches)-1)
		}, "it serves")
	}
}

func get[K comparable, V any](tb testing.TB, c *Cache[K, V], key K) V {
	tb.Helper()
	v, err := c.Get(limited(tb), key)
	require.NoError(tb, err)
	return v
}

// records counts the warnings of a log.
type records struct{ atomic.Int64 }

var _ slog.Handler = (*records)(nil)

func (r *records) warnings() int { return int(r.Load()) }

func (r *records) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (r *records) WithAttrs([]slog.Attr) slog.Handler               { return r }
func (r *records) WithGroup(string) slog.Handler                    { return r }
func (r *records) Handle(context.Context, slog.Record) error {
	r.Add(1)
	return nil
}
