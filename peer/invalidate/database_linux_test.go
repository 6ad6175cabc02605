package invalidate

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// database is a server over TCP with one row. It commits what it was sent when the test says so, also when the process that
// has sent it is dead by then.
type database struct {
	net.Listener
	value    atomic.Uint64
	received chan none // a write was received
	commit   chan none // it is committed
	done     chan none // it was
	running  sync.WaitGroup
}

func startDatabase(t *testing.T) *database {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &database{Listener: listener, received: make(chan none), commit: make(chan none), done: make(chan none)}
	d.running.Go(d.accept) // ended by Close
	t.Cleanup(func() {
		assert.NoError(t, listener.Close())
		d.running.Wait()
	})
	return d
}

func (d *database) accept() {
	for {
		conn, err := d.Accept()
		if err != nil {
			return
		}
		d.running.Go(func() { d.serve(conn) }) // ends with its client and its write
	}
}

// serve answers one request: "get", or "set" with a value.
func (d *database) serve(conn net.Conn) {
	defer conn.Close()
	var verb string
	var value uint64
	_, _ = fmt.Fscanln(bufio.NewReader(conn), &verb, &value)
	if verb == "set" {
		d.received <- none{}
		<-d.commit
		d.value.Store(value)
		defer func() { d.done <- none{} }()
	}
	_, _ = fmt.Fprintln(conn, d.value.Load()) // the client may be gone
}

// ask sends a request and returns the answer.
func ask(ctx context.Context, addr, verb string, value uint64) (answer uint64, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := fmt.Fprintln(conn, verb, value); err != nil {
		return 0, err
	}
	_, err = fmt.Fscanln(conn, &answer)
	return answer, err
}

func (d *database) load(ctx context.Context, _ int) (uint64, error) {
	return ask(ctx, d.Addr().String(), "get", 0)
}

// commits commits the received write.
func (d *database) commits(t *testing.T) {
	t.Helper()
	d.commit <- none{}
	next(t, d.done)
}

// A writer is killed when its write was sent and the server has not committed it. No process keeps the old value, neither an
// earlier process nor one that joins, before or after the others have seen that the writer is dead.
func TestWriterThatDiesBeforeTheCommit(t *testing.T) {
	t.Parallel()
	ways := map[string]way{
		"shared":   func(int) bool { return false },
		"messages": byMessages,
		"mixed":    func(node int) bool { return node%2 == 1 },
		"late":     func(node int) bool { return node == 2 },
	}
	for name, w := range ways {
		for _, isSeen := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, its death is seen %v", name, isSeen), func(t *testing.T) {
				t.Parallel()
				diesBeforeTheCommit(t, w, isSeen)
			})
		}
	}
}

func diesBeforeTheCommit(t *testing.T, w way, isSeen bool) {
	t.Helper()
	db := startDatabase(t)
	dir := makeDirectory(t)
	_, ledger := createLedger(t)
	opts := Options[int, uint64]{CommitTimeout: maxCommit, Lease: maxLease} // on a busy machine, too, the lease runs
	c := cacheOf(t, join(t, dir, 0).Bus, opts.in(w, 0), db.load)
	p := startCitizen(t, citizenJob{Directory: dir, Ledger: ledger, ID: 1, Idle: true, Messages: w(1), Lease: maxLease})
	p.awaitReady(t)
	awaitPeers(t, c, 1)
	eventually(t, func() bool { return isStored(t, c, 7) }, "it has joined")
	p.tell("send 7 1 %s", db.Addr())
	next(t, db.received)
	p.kill()
	if isSeen {
		awaitPeers(t, c, 0)
	}
	comes := cacheOf(t, join(t, dir, 2).Bus, opts.in(w, 2), db.load)
	eventually(t, func() bool { return comes.Stats().Serving }, "it serves")
	caches := []*Cache[int, uint64]{c, comes}
	for _, c := range caches {
		assert.False(t, isStored(t, c, 7), "it may be old soon")
	}
	db.commits(t)
	for _, c := range caches {
		assert.EqualValues(t, 1, get(t, c, 7))
		assert.False(t, isStored(t, c, 7))
	}
	eventually(t, func() bool { return isStored(t, c, 8) }, "it was not updated")
	if isTold := w(1) || !w(2); isTold { // by a process that knows the key, or by its mark
		eventually(t, func() bool { return isStored(t, comes, 8) }, "it was not updated")
	} else {
		assert.False(t, isStored(t, comes, 8), "it does not know the key, and stores nothing")
	}
}

// A commit returns when its context ends, and the server commits all the same.
func TestCommitThatTimesOut(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, w way) {
		t.Helper()
		db, nodes := startDatabase(t), meshOf(t, 3)
		caches := make([]*Cache[int, uint64], len(nodes))
		for i, n := range nodes {
			caches[i] = cacheOf(t, n.Bus, Options[int, uint64]{CommitTimeout: maxCommit, Lease: maxLease}.in(w, i), db.load)
		}
		awaitServing(t, caches...)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // ends with the write
			<-db.received
			cancel()
		}()
		err := caches[0].Update(ctx, []int{7}, func(ctx context.Context) error {
			_, err := ask(ctx, db.Addr().String(), "set", 1)
			return err
		})
		require.Error(t, err)
		for _, c := range caches {
			assert.False(t, isStored(t, c, 7), "it may be old soon")
		}
		db.commits(t)
		for _, c := range caches {
			assert.EqualValues(t, 1, get(t, c, 7))
			eventually(t, func() bool { return isStored(t, c, 8) }, "it was not updated")
		}
	})
}

// A process comes that has found one member alive and not the other, which may be dead and have begun an update: it is granted
// no lease as long as that is a member.
func TestGrantBesideADeadWriter(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 3)
	var r row
	caches := make([]*Cache[string, int64], len(nodes))
	for i, n := range nodes {
		caches[i] = cacheOf(t, n.Bus, patientOptions(), r.load)
	}
	awaitServing(t, caches...)
	g, comes := caches[0].group, peer.Info{ID: 7, Incarnation: 7}
	ask := wire.Message{Kind: wire.Ask, Own: 7, Time: maxLease}
	for _, n := range nodes[:2] {
		ask.Ops = binary.BigEndian.AppendUint64(ask.Ops, uint64(n.mesh.Self().Incarnation))
	}
	_, err := g.grant(comes, ask)
	require.ErrorIs(t, err, errChanged)
	ask.Ops = binary.BigEndian.AppendUint64(ask.Ops, uint64(nodes[2].mesh.Self().Incarnation))
	_, err = g.grant(comes, ask)
	require.NoError(t, err)
	g.writer.mu.Lock()
	g.writer.adopting++ // a writer has ended, and what it had begun is not in the stream yet
	g.writer.mu.Unlock()
	_, err = g.grant(comes, ask)
	require.ErrorIs(t, err, errChanged)
	g.writer.mu.Lock()
	g.writer.adopting--
	g.writer.mu.Unlock()
}

// A process is dead before its question is answered: it is granted no lease, for which a writer would wait.
func TestGrantAfterTheEnd(t *testing.T) {
	t.Parallel()
	nodes := meshOf(t, 1)
	var r row
	c := cacheOf(t, nodes[0].Bus, patientOptions(), r.load)
	dead := peer.Info{ID: 7, Incarnation: 7}
	m := c.group.members.meet(dead, 7)
	c.group.members.ended(dead)
	_, err := c.group.writer.grant(m, wire.Message{Kind: wire.Ask, Own: 7, Time: maxLease})
	require.ErrorIs(t, err, errChanged)
	assert.Empty(t, c.Stats().Peers)
}
