// Package pgtest tests Update with PostgreSQL. It is a module of its own, so that its driver never reaches a user of the library.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate"
)

const (
	// patient bounds the wait of a test for an event.
	patient = 5 * time.Minute
	// row is the key that is updated, other is not, and gate is the lock for which the server waits before it commits.
	row, other, gate = 7, 8, 1
)

// The environment of the test binary when it is the writer.
const (
	writerVariable   = "PGTEST_WRITER" // how to connect
	meshVariable     = "PGTEST_MESH"   // the rendezvous directory
	messagesVariable = "PGTEST_MESSAGES"
)

func TestMain(m *testing.M) {
	if connect := os.Getenv(writerVariable); connect != "" {
		err := write(context.Background(), connect, os.Getenv(meshVariable), os.Getenv(messagesVariable) != "")
		fmt.Fprintln(os.Stderr, "the writer:", err)
		os.Exit(1) // it is killed before
	}
	os.Exit(leaktest.Run(m))
}

// node is a node of a mesh, with a cache of the rows.
type node struct {
	*invalidate.Cache[int, int]
	bus  *bus.Bus
	mesh *peer.Mesh
}

func join(ctx context.Context, dir string, id int, connect string, messages bool) (n *node, err error) {
	n = new(node)
	opts := peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: id}}
	inside.Set(&opts, inside.Options{AllowAbsent: true})
	n.mesh, err = peer.Join(ctx, opts)
	if err != nil {
		return nil, err
	}
	if n.bus, err = bus.New(ctx, n.mesh, bus.Options{}); err != nil {
		return nil, errors.Join(err, n.mesh.Close())
	}
	n.Cache, err = invalidate.New(n.bus, invalidate.Options[int, int]{DisableSharedMemory: messages},
		func(ctx context.Context, id int) (int, error) { return read(ctx, connect, id) })
	if err != nil {
		return nil, errors.Join(err, n.bus.Close(), n.mesh.Close())
	}
	return n, nil
}

func (n *node) leave() error { return errors.Join(n.Close(), n.bus.Close(), n.mesh.Close()) }

func read(ctx context.Context, connect string, id int) (value int, err error) {
	err = query(ctx, connect, "SELECT value FROM rows WHERE id = $1", &value, id)
	return value, err
}

// query runs a statement that returns one value, on a connection of its own.
func query(ctx context.Context, connect, statement string, result any, args ...any) error {
	conn, err := pgx.Connect(ctx, connect)
	if err != nil {
		return err
	}
	return errors.Join(conn.QueryRow(ctx, statement, args...).Scan(result), conn.Close(ctx))
}

// write is the writer: all of its transaction is one message to the server.
func write(ctx context.Context, connect, path string, messages bool) error {
	n, err := join(ctx, path, 1, connect, messages)
	if err != nil {
		return err
	}
	return n.Update(ctx, []int{row}, func(ctx context.Context) error { return transact(ctx, connect) })
}

// transact adds one to the row, in a transaction that the server commits when the gate is open.
func transact(ctx context.Context, connect string) error {
	conn, err := pgx.Connect(ctx, connect)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	transaction := fmt.Sprintf("BEGIN; UPDATE rows SET value = value + 1 WHERE id = %d; SELECT pg_advisory_xact_lock_shared(%d); COMMIT", row, gate)
	_, err = conn.PgConn().Exec(ctx, transaction).ReadAll()
	return err
}

// gated is a server that commits nothing until the gate is open.
type gated struct {
	connect string
	keeper  *pgx.Conn
}

func closeGate(t *testing.T, connect string) *gated {
	t.Helper()
	keeper, err := pgx.Connect(t.Context(), connect)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, keeper.Close(context.Background())) })
	_, err = keeper.Exec(t.Context(), "SELECT pg_advisory_lock($1)", gate)
	require.NoError(t, err)
	return &gated{connect, keeper}
}

// awaitWriter waits until the server has received the whole transaction, all but the commit.
func (g *gated) awaitWriter(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting int
		err := query(t.Context(), g.connect, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", &waiting)
		return assert.NoError(t, err) && waiting == 1
	}, patient, 5*time.Millisecond)
}

// open lets the server commit, and waits until it has.
func (g *gated) open(t *testing.T, want int) {
	t.Helper()
	_, err := g.keeper.Exec(t.Context(), "SELECT pg_advisory_unlock($1)", gate)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		value, err := read(t.Context(), g.connect, row)
		return assert.NoError(t, err) && value == want
	}, patient, 5*time.Millisecond, "the server commits what it was sent")
}

func (n *node) get(t *testing.T, id int) int {
	t.Helper()
	value, err := n.Get(t.Context(), id)
	require.NoError(t, err)
	return value
}

func (n *node) isStored(t *testing.T, id int) bool {
	t.Helper()
	n.get(t, id)
	loads := n.Stats().Loads
	n.get(t, id)
	return n.Stats().Loads == loads
}

func (n *node) awaitPeers(t *testing.T, count int) {
	t.Helper()
	require.Eventually(t, func() bool {
		stats := n.Stats()
		return stats.Serving && len(stats.Peers) == count
	}, patient, time.Millisecond)
}

func prepare(t *testing.T, connect string) (dir string) {
	t.Helper()
	var rows int
	const statement = "WITH made AS (INSERT INTO rows VALUES ($1, 0), ($2, 0) RETURNING 1) SELECT count(*) FROM made"
	conn, err := pgx.Connect(t.Context(), connect)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "DROP TABLE IF EXISTS rows; CREATE TABLE rows (id int PRIMARY KEY, value int)")
	require.NoError(t, errors.Join(err, conn.Close(t.Context())))
	require.NoError(t, query(t.Context(), connect, statement, &rows, row, other))
	dir = filepath.Join(t.TempDir(), "mesh")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return dir
}

func eachWay(t *testing.T, test func(t *testing.T, connect string, messages bool)) {
	t.Helper()
	connect := startServer(t)
	t.Run("shared", func(t *testing.T) { test(t, connect, false) })
	t.Run("messages", func(t *testing.T) { test(t, connect, true) })
}

// A writer is killed when PostgreSQL has received its transaction, which it commits all the same: it does not look at the connection
// before it answers, see client_connection_check_interval.
func TestIntegrationWriterThatDiesBeforeTheCommit(t *testing.T) {
	eachWay(t, func(t *testing.T, connect string, messages bool) {
		t.Helper()
		dir := prepare(t, connect)
		reader, err := join(t.Context(), dir, 2, connect, messages)
		require.NoError(t, err)
		defer func() { assert.NoError(t, reader.leave()) }()
		gate := closeGate(t, connect)

		writer := exec.CommandContext(t.Context(), os.Args[0])
		writer.Env = append(os.Environ(), writerVariable+"="+connect, meshVariable+"="+dir)
		if messages {
			writer.Env = append(writer.Env, messagesVariable+"=1")
		}
		writer.Stderr = os.Stderr
		require.NoError(t, writer.Start())
		gate.awaitWriter(t)
		require.NoError(t, writer.Process.Kill())
		require.Error(t, writer.Wait())
		reader.awaitPeers(t, 0)

		assert.Zero(t, reader.get(t, row))
		assert.False(t, reader.isStored(t, row), "it may be old soon")
		assert.True(t, reader.isStored(t, other))
		gate.open(t, 1)
		assert.Equal(t, 1, reader.get(t, row))
	})
}

// The context of a commit ends, and the driver closes the connection. PostgreSQL commits all the same.
func TestIntegrationCommitThatTimesOut(t *testing.T) {
	eachWay(t, func(t *testing.T, connect string, messages bool) {
		t.Helper()
		dir := prepare(t, connect)
		var nodes []*node
		for id := range 2 {
			n, err := join(t.Context(), dir, id+1, connect, messages)
			require.NoError(t, err)
			defer func() { assert.NoError(t, n.leave()) }()
			nodes = append(nodes, n)
		}
		for _, n := range nodes {
			n.awaitPeers(t, 1)
		}
		gate := closeGate(t, connect)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() { // ends with ctx
			failed <- nodes[0].Update(ctx, []int{row}, func(ctx context.Context) error { return transactWithoutCancel(ctx, connect) })
		}()
		gate.awaitWriter(t)
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		for _, n := range nodes {
			assert.Zero(t, n.get(t, row))
			assert.False(t, n.isStored(t, row), "it may be old soon")
		}
		gate.open(t, 1)
		for _, n := range nodes {
			assert.Equal(t, 1, n.get(t, row))
		}
	})
}

// transactWithoutCancel returns when ctx ends. pgx also asks the server to cancel then, which a network may lose: here it is not
// asked.
func transactWithoutCancel(ctx context.Context, connect string) error {
	done := make(chan error, 1)
	go func() { done <- transact(context.WithoutCancel(ctx), connect) }() // ends when the gate is open
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
