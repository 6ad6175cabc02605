package reuseport

import (
	"context"
	"errors"
	"flag"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// barrierRounds is how often the race between a SYN and a drain is run. A broken drain loses it once in some rounds.
var barrierRounds = flag.Int("barrier-rounds", 40, "rounds of TestDrainWaitsForTheProgram")

// slowInstructions is how long a program is that takes some 150 us, and that the kernel still has memory for: each of them
// dissects the packet.
const slowInstructions = 2000

// attachSlow steers all connections to an index, after a long time.
func attachSlow(t *testing.T, l *net.TCPListener, index int) {
	t.Helper()
	program := make([]bpf.Instruction, slowInstructions)
	for i := range program {
		program[i] = bpf.LoadExtension{Num: bpf.ExtPayloadOffset}
	}
	assembled, err := bpf.Assemble(append(program, bpf.RetConstant{Val: uint32(index)}))
	require.NoError(t, err)
	var filter []unix.SockFilter
	for _, ins := range assembled {
		filter = append(filter, unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K})
	}
	require.NoError(t, control(l, func(fd int) error { return attachFilter(fd, filter) }))
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
	t.Logf("%d connections in %d rounds came to the member that was drained", came, *barrierRounds)
}

// racers is how many clients there are, so that one of them is in the program at the right moment even on a busy machine.
const racers = 8

// race lets clients connect again and again until the first member is drained, and tells whether a last connection of theirs
// came to that.
func race(t *testing.T, leaving *net.TCPListener) (came int) {
	t.Helper()
	attachSlow(t, leaving, 0)
	var draining atomic.Bool
	var clients, begun sync.WaitGroup
	last := make([]*Question, racers)
	begun.Add(racers)
	for i := range racers {
		clients.Go(func() { // ends with the first connection after draining
			first := sync.OnceFunc(begun.Done)
			defer first()
			for last[i] == nil {
				last[i] = visit(t, leaving, &draining)
				first()
			}
		})
	}
	begun.Wait()
	require.NoError(t, Attach(leaving, Steering{Weights: []uint32{0, 1}}))
	draining.Store(true)
	const longerThanABarrier = 40 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), longerThanABarrier)
	defer cancel()
	stats, err := Drain(ctx, leaving)
	clients.Wait()
	pending, pendingErr := handshakesOf(leaving)
	require.NoError(t, pendingErr)
	for _, q := range last {
		if pending[handshake{q.Target(), q.Source()}] {
			came++
		}
		require.NoError(t, q.Close())
	}
	require.GreaterOrEqual(t, stats.Handshakes, came, "the drain does not know of a handshake that began before it")
	if came > 0 {
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	return came
}

// visit connects, and ends the handshake unless the drain has begun: then it returns the connection.
func visit(t *testing.T, l *net.TCPListener, draining *atomic.Bool) *Question {
	t.Helper()
	q, err := NewQuestion(context.Background(), l.Addr().(*net.TCPAddr))
	if !assert.NoError(t, err) || !assert.NoError(t, q.Connect(context.Background())) || draining.Load() {
		return q
	}
	_, err = q.socket.Write([]byte{1})
	assert.NoError(t, errors.Join(err, q.Close()))
	return nil
}
