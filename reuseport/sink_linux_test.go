package reuseport_test

import (
	"context"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

// impatience is how long a client waits for a connection: less than the second after which it would send another SYN.
const impatience = 300 * time.Millisecond

func attachTo(l syscall.Conn) func(reuseport.Steering) error {
	return func(s reuseport.Steering) error { return reuseport.Attach(l, s) }
}

func newSink(t *testing.T, k kind, members []*net.TCPListener) *reuseport.Sink {
	t.Helper()
	s, err := reuseport.NewSink(t.Context(), k.network, members[0].Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func fill(t *testing.T, s *reuseport.Sink, index int, weights ...uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	require.NoError(t, s.Fill(ctx, index, attachTo(s), weights))
}

// only returns weights of which all is at one index.
func only(index, n int) []uint32 {
	weights := make([]uint32, n)
	weights[index] = 1
	return weights
}

func TestSinkLetsNothingBeEstablished(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			members, client := k.members(t, 2)
			attach(t, members[0], 1, 1)
			s := newSink(t, k, members)
			fill(t, s, 2, 0, 0, 1)
			fill(t, s, 2, 0, 0, 1) // again

			_, err := net.DialTimeout("tcp", client, impatience)
			var netErr net.Error
			require.ErrorAs(t, err, &netErr)
			require.True(t, netErr.Timeout(), err)
			stats, err := reuseport.Queue(s)
			require.NoError(t, err)
			assert.Equal(t, reuseport.QueueStats{Length: 1, Limit: 0}, stats, "it is full")
			for _, l := range members {
				requireLength(t, l, 0)
			}
			attach(t, s, 0, 1, 0)
			dial(t, client)
			requireLength(t, members[1], 1)
		})
	}
}

// Without a sink the last member would reset what it has not accepted.
func TestStopThroughASinkUnderLoad(t *testing.T) {
	t.Parallel()
	for _, k := range kinds[:4] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			for range 3 {
				stopAll(t, k, func(t *testing.T, order *reuseport.Order[syscall.Conn], s *reuseport.Sink, load *load) {
					t.Helper()
					fill(t, s, order.Index(s), only(order.Index(s), order.Len())...)
					for _, member := range order.Members() {
						w, ok := member.(*worker)
						if !ok {
							continue
						}
						attach(t, s, only(order.Index(s), order.Len())...)
						_, err := reuseport.Drain(t.Context(), w)
						require.NoError(t, err)
						w.retire()
						order.Leave(w)
					}
					require.NoError(t, s.Close())
					assert.Empty(t, load.losses())
				})
			}
		})
	}
}

// At index 0 the sink stays where it is, so that the others may leave in any order and at the same time.
func TestStopThroughASinkAtIndex0(t *testing.T) {
	t.Parallel()
	stopAll(t, kinds[0], func(t *testing.T, order *reuseport.Order[syscall.Conn], s *reuseport.Sink, load *load) {
		t.Helper()
		first := order.Members()[0].(*worker)
		attach(t, first, 0, 1, 1, 0)
		_, err := reuseport.Drain(t.Context(), first)
		require.NoError(t, err)
		first.retire()
		order.Leave(first)
		require.Zero(t, order.Index(s))
		fill(t, s, 0, 1, 0, 0)
		workers := order.Members()[1:]
		done := make(chan error, len(workers))
		for _, member := range workers {
			go func() { // ends with Drain
				_, err := reuseport.Drain(t.Context(), member)
				member.(*worker).retire()
				done <- err
			}()
		}
		for range workers {
			require.NoError(t, <-done)
		}
		require.NoError(t, s.Close())
		assert.Empty(t, load.losses())
	})
}

func TestStopByCloseLosesConnections(t *testing.T) {
	t.Parallel()
	var lost []error
	for range 50 {
		stopAll(t, kinds[0], func(t *testing.T, order *reuseport.Order[syscall.Conn], s *reuseport.Sink, load *load) {
			t.Helper()
			require.NoError(t, s.Close())
			for _, member := range order.Members()[:3] {
				member.(*worker).retire()
			}
			load.stop()
			lost = append(lost, load.losses()...)
		})
		if len(lost) > 0 {
			return
		}
	}
	assert.NotEmpty(t, lost)
}

// stopAll calls stop with a group of three and a sink under load, and ends when clients are refused.
func stopAll(t *testing.T, k kind, stop func(*testing.T, *reuseport.Order[syscall.Conn], *reuseport.Sink, *load)) {
	t.Helper()
	members, client := k.members(t, 3)
	order := reuseport.NewOrder[syscall.Conn]()
	for _, l := range members {
		order.Join(work(t, l))
	}
	attach(t, members[0], 1, 1, 1)
	load := newLoad(t, client, clients, impatience)
	load.requireMore(t, clients)
	s := newSink(t, k, members)
	order.Join(s)
	load.requireMore(t, clients)
	requireLength(t, s, 0) // it gets nothing yet
	stop(t, order, s, load)
	load.stop()
	_, err := net.DialTimeout("tcp", client, limit)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestSinkAtAnotherIndex(t *testing.T) {
	t.Parallel()
	members, client := kinds[0].members(t, 2)
	attach(t, members[0], 1, 1)
	s := newSink(t, kinds[0], members)
	var steerings []reuseport.Steering
	err := s.Fill(t.Context(), 1, func(s reuseport.Steering) error {
		steerings = append(steerings, s)
		return reuseport.Attach(members[0], s)
	}, only(1, 3))
	require.ErrorContains(t, err, "another member")
	require.Len(t, steerings, 1)
	assert.Equal(t, []uint32{1, 0, 1}, steerings[0].Weights)
	accept(t, members[1])

	attach(t, members[0], 1, 0)
	fill(t, s, 2, 0, 1, 1)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err = reuseport.Queue(s)
	require.ErrorIs(t, err, net.ErrClosed)
	dial(t, client)
}

func TestSinkFillErrors(t *testing.T) {
	t.Parallel()
	members, _ := kinds[0].members(t, 1)
	attach(t, members[0], 1)
	s := newSink(t, kinds[0], members)
	err := s.Fill(t.Context(), 1, func(reuseport.Steering) error { return errRefused }, only(1, 2))
	require.ErrorIs(t, err, errRefused)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err = s.Fill(ended, 1, attachTo(s), only(1, 2))
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
	err = s.Fill(t.Context(), 1, attachTo(s), only(1, 2))
	require.ErrorIs(t, err, net.ErrClosed)

	_, err = reuseport.NewSink(t.Context(), "tcp", ordinary(t, "tcp", "127.0.0.1:0").Addr().String())
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.True(t, slices.Contains([]string{"tcp4", "tcp"}, s.Addr().Network()))
}
