package reuseport_test

import (
	"context"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

const clients = 8

// rolling replaces members of a group under load, one after the other, and returns what came of it.
func rolling(t *testing.T, k kind, times int, leave func(t *testing.T, order *reuseport.Order[*worker], w *worker)) *load {
	t.Helper()
	members, client := k.members(t, 3)
	order := reuseport.NewOrder[*worker]()
	for _, l := range members {
		order.Join(work(t, l))
	}
	load := newLoad(t, client, clients, limit)
	load.requireMore(t, clients)
	r := rand.New(rand.NewPCG(7, 8))
	for range times {
		order.Join(work(t, k.join(t, members)))
		leaving := order.Members()[r.IntN(order.Len()-1)]
		leave(t, order, leaving)
		leaving.retire()
		require.True(t, order.Leave(leaving))
		load.requireMore(t, clients)
	}
	load.stop()
	require.Positive(t, load.served.Load())
	return load
}

// drained lets a member leave in the right way. The last member has no weight either: it moves to the index of the leaving
// one, and an index beyond the end would let the hash decide.
func drained(t *testing.T, order *reuseport.Order[*worker], leaving *worker) {
	t.Helper()
	weights := make([]uint32, order.Len())
	for i := range weights[:len(weights)-1] {
		weights[i] = 1
	}
	weights[order.Index(leaving)] = 0
	attach(t, leaving, weights...)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	stats, err := reuseport.Drain(ctx, leaving)
	require.NoError(t, err)
	require.Positive(t, stats.Took)
}

func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	for _, k := range kinds[:4] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			load := rolling(t, k, 25, drained)
			assert.Empty(t, load.losses())
			assert.Empty(t, load.refusals())
		})
	}
}

// The same load does see when a listener is just closed.
func TestCloseUnderLoadLosesConnections(t *testing.T) {
	t.Parallel()
	const rounds = 20
	var lost []error
	for round := 0; round < rounds && len(lost) == 0; round++ {
		lost = rolling(t, kinds[0], 25, func(*testing.T, *reuseport.Order[*worker], *worker) {}).losses()
	}
	assert.NotEmpty(t, lost)
}

// A worker that is stopped accepts nothing: what is in its queue is waited for.
func TestDrainWaitsForTheQueue(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			members, client := k.members(t, 2)
			attach(t, members[1], 0, 1)
			dial(t, client)
			requireLength(t, members[1], 1)
			attach(t, members[1], 1, 0)

			reuseport.DrainInVain(t, members[1], "0 handshakes and 1 connections")

			done := drainLater(t, members[1])
			accept(t, members[1])
			require.NoError(t, <-done)
		})
	}
}

func drainLater(t *testing.T, l syscall.Conn) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { // ends with the test's context at the latest
		_, err := reuseport.Drain(t.Context(), l)
		done <- err
	}()
	return done
}

func TestDrainErrors(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := reuseport.Drain(ended, l)
	require.ErrorIs(t, err, context.Canceled)

	client := dial(t, l.Addr().String())
	_, err = reuseport.Drain(t.Context(), client.(*net.TCPConn))
	require.ErrorIs(t, err, syscall.EINVAL, "a connection")
	requireLength(t, l, 1)
	done := drainLater(t, l)
	require.NoError(t, l.Close()) // before, during or after its first look
	require.ErrorIs(t, <-done, net.ErrClosed)
}

func TestBarrier(t *testing.T) {
	t.Parallel()
	assert.NoError(t, reuseport.Barrier())
}
