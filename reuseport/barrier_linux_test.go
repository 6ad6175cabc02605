package reuseport

import (
	"context"
	"errors"
	"flag"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/mutant"
)

// barrierRounds is how often a race with the kernel is run. A broken drain loses one once in some ten rounds.
var barrierRounds = flag.Int("barrier-rounds", 20, "rounds of the tests of a race with the kernel")

// slowInstructions is how long a program is that takes some 250 us, and that the kernel still has memory for: each of them
// dissects the packet.
const slowInstructions = 3500

// attachSlow steers all connections to an index, after a long time.
func attachSlow(t *testing.T, l *net.TCPListener, index int) {
	t.Helper()
	program := make([]bpf.Instruction, slowInstructions)
	for i := range program {
		program[i] = bpf.LoadExtension{Num: bpf.ExtPayloadOffset}
	}
	assembled, err := bpf.Assemble(append(program, bpf.RetConstant{Val: uint32(index)}))
	require.NoError(t, err)
	require.NoError(t, control(l, func(fd int) error { return attachFilter(fd, filterOf(assembled)) }))
}

func filterOf(program []bpf.RawInstruction) (filter []unix.SockFilter) {
	for _, ins := range program {
		filter = append(filter, unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K})
	}
	return filter
}

// TestDrainWaitsForTheProgram: a SYN may be in the old program still when the new one is attached. It comes to the member
// that is drained, where it is not to be seen yet. The program is made slow, and the handshake ends when the client likes,
// so that a drain that does not wait for the program is over before.
func TestDrainWaitsForTheProgram(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("a SYN and a drain at the same time need two CPUs")
	}
	leaving := deferred(t, "tcp", "127.0.0.1:0")
	other, err := Listen(t.Context(), "tcp", leaving.Addr().String(), Options{})
	require.NoError(t, err)
	var accepting sync.WaitGroup
	for _, l := range []*net.TCPListener{leaving, other} {
		accepting.Go(func() { // ends with the listener
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		})
	}
	defer accepting.Wait()
	defer other.Close()
	defer leaving.Close()
	came := 0
	for range *barrierRounds {
		came += race(t, leaving)
	}
	t.Logf("%d connections in %d rounds came to the member that is drained", came, *barrierRounds)
}

// racers is how many clients there are.
const racers = 4

// race lets clients connect again and again until the first member is drained, and returns how many of their last
// connections came to that.
func race(t *testing.T, leaving *net.TCPListener) (came int) {
	t.Helper()
	attachSlow(t, leaving, 0)
	var draining atomic.Bool
	var entered atomic.Int64
	var clients sync.WaitGroup
	last := make([]*Question, racers)
	for i := range racers {
		clients.Go(func() { // ends with the first connection after draining
			for last[i] == nil {
				last[i] = visit(t, leaving, &entered, &draining)
			}
		})
	}
	next, err := bpf.Assemble(Steering{Weights: []uint32{0, 1}}.program())
	require.NoError(t, err)
	filter := filterOf(next)
	require.NoError(t, control(leaving, func(fd int) error {
		for seen := entered.Load(); entered.Load() == seen; { // then a client runs on another CPU, and connects
			runtime.Gosched()
		}
		return attachFilter(fd, filter)
	}))
	draining.Store(true)
	begun, err := underWay(t.Context(), leaving)
	require.NoError(t, err)
	clients.Wait()
	pending, err := handshakesOf(leaving)
	require.NoError(t, err)
	for _, q := range last {
		if h := (handshake{q.Target(), q.Source()}); pending[h] {
			came++
			require.True(t, begun[h], "a drain does not know of a handshake that began before it")
		}
		require.NoError(t, q.Close())
	}
	return came
}

// TestDrainWithoutItsBarrier: without the barrier, the test above finds out, some time.
func TestDrainWithoutItsBarrier(t *testing.T) {
	if testing.Short() || runtime.NumCPU() < 2 {
		t.Skip("compiles this package, and needs two CPUs")
	}
	binary := mutant.TestBinary(t, mutant.Overlay(t, mutant.Edit{
		File: "drain_linux.go",
		Old:  "	if err := barrier(ctx); err != nil {\n		return nil, err\n	}\n	return handshakesOf(l)\n",
		New:  "	return handshakesOf(l)\n",
	}))
	output, err := exec.CommandContext(t.Context(), binary, "-test.run=^TestDrainWaitsForTheProgram$", "-barrier-rounds=1000000").CombinedOutput()
	require.Error(t, err, "the mutant survives")
	assert.Contains(t, string(output), "a drain does not know of a handshake")
}

// visit connects, and ends the handshake unless the drain has begun: then it returns the connection.
func visit(t *testing.T, l *net.TCPListener, entered *atomic.Int64, draining *atomic.Bool) *Question {
	t.Helper()
	q, err := NewQuestion(context.Background(), l.Addr().(*net.TCPAddr))
	if !assert.NoError(t, err) { //nolint:testifylint // not in the goroutine of the test
		return nil
	}
	entered.Add(1)
	if !assert.NoError(t, q.Connect(context.Background())) || draining.Load() { //nolint:testifylint // as above
		return q
	}
	_, err = q.socket.Write([]byte{1})
	assert.NoError(t, errors.Join(err, q.Close()))
	return nil
}

// TestHandshakeIsQueuedBeforeItIsGone: what a drain relies on that waits for handshakes, and then looks at the queue once:
// the kernel puts a connection into the queue (inet_csk_complete_hashdance) before it is no handshake any more
// (tcp_rcv_state_process), whatever CPU looks.
func TestHandshakeIsQueuedBeforeItIsGone(t *testing.T) {
	t.Parallel()
	for _, k := range []struct{ network, address, host string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1"}, {"tcp", "[::1]:0", "::1"}, {"tcp", ":0", "127.0.0.1"},
	} {
		l := deferred(t, k.network, k.address)
		for range *barrierRounds {
			clients := make([]net.Conn, racers)
			for i := range clients {
				clients[i] = half(t, l, k.host)
			}
			pending, err := handshakesOf(l)
			require.NoError(t, err)
			require.Len(t, pending, racers)
			var finished sync.WaitGroup
			for _, c := range clients {
				finished.Go(func() { finishLater(t, c) })
			}
			for left := racers; left > 0; { // no accept
				now, err := handshakesOf(l)
				require.NoError(t, err)
				left = len(now)
				stats, err := queue(l)
				require.NoError(t, err)
				require.GreaterOrEqual(t, stats.Length, racers-left, "a connection is neither a handshake nor in the queue")
			}
			finished.Wait()
			for _, c := range clients {
				accepted, err := l.Accept()
				require.NoError(t, err)
				require.NoError(t, accepted.(*net.TCPConn).SetLinger(0)) // nothing stays of it
				require.NoError(t, accepted.Close())
				require.NoError(t, c.Close())
			}
		}
	}
}

func finishLater(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Write([]byte{1})
	assert.NoError(t, err)
}
