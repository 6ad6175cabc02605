package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

// listeners returns the inode of each process's listener on a port.
func listeners(t *testing.T, addr string) map[int]uint32 {
	t.Helper()
	owners, err := reuseport.Owners(t.Context(), "tcp", addr)
	require.NoError(t, err)
	all := make(map[int]uint32)
	for _, o := range owners {
		all[o.PID] = o.Inode
	}
	return all
}

// TestStrangerIsGuarded kills a worker beside a stranger while there is no master: the kernel has to find one of ours to
// move to its index.
func TestStrangerIsGuarded(t *testing.T) {
	needSteering(t)
	t.Parallel()
	opts := orphans(t, 4)
	c := run(t, "http", opts)
	addr := c.ready(t)
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Picture && len(pidsOf(s)) == 4 })
	before := listeners(t, addr)
	load := underLoad(t, addr)
	letJoin(t, addr)
	moved := func() (moved []int) {
		for pid, inode := range listeners(t, addr) {
			if was, known := before[pid]; known && was != inode {
				moved = append(moved, pid)
			}
		}
		return moved
	}
	require.Eventually(t, func() bool { return len(moved()) == 1 }, patience, 10*time.Millisecond, "a worker moves")
	s := c.awaitStatus(t, func(s control.Status) bool {
		weights := 0.
		for _, n := range s.Nodes {
			weights = max(weights, n.Weight)
		}
		return s.Steering.Picture && len(s.Steering.Strangers) == 1 && weights == 25
	})
	noneFailed(t, load)
	survey(t, addr, 4)
	require.Len(t, moved(), 1, "and no other one")

	c.killMaster(t)
	var victim int
	for _, pid := range pidsOf(s) {
		if pid != moved()[0] {
			victim = pid
		}
	}
	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	require.Eventually(t, func() bool { // the socket is closed, and not only its process gone from /proc
		left, err := reuseport.Listeners(t.Context(), "tcp", addr)
		return err == nil && !slices.ContainsFunc(left, func(l reuseport.Listener) bool { return l.Inode == before[victim] })
	}, patience, time.Millisecond)
	const requests = 400
	strange := 0
	for range requests {
		a, err := get(addr, "/")
		require.NoError(t, err)
		if a.Slot == -1 {
			strange++
		}
	}
	// The index of the one who has moved is beyond the group, and the hash decides for it: 1 of 16. It was 1 of 4.
	assert.Less(t, strange, requests/8)

	c = run(t, "http", opts)
	c.ready(t)
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Picture && len(pidsOf(s)) == 4 })
	survey(t, addr, 4)
}

// solo keeps the group of one node, which is alone, and notes what it is asked. Its methods are those of a keeper.
type solo struct {
	seats *seats
	epoch int     // 0: connections cannot be steered away
	errs  []error // of the first joins
	stays error   // of leave
	asked []string
}

func (s *solo) join(ctx context.Context, key portKey) error {
	s.asked = append(s.asked, "join")
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return err
	}
	_, err := s.seats.open(ctx, key, key.Address)
	return err
}

func (s *solo) exclude(context.Context, portKey) (epoch int, later bool, err error) {
	s.asked = append(s.asked, "exclude")
	return s.epoch, false, nil
}

func (s *solo) leave(_ context.Context, key portKey, _ int) (again bool, err error) {
	s.asked = append(s.asked, "leave")
	if s.stays != nil {
		return false, s.stays
	}
	one, err := s.seats.get(key)
	if err != nil {
		return false, err
	}
	return false, s.seats.shut(one)
}

func TestMove(t *testing.T) {
	failed := errors.New("test")
	for name, c := range map[string]struct {
		solo
		asked []string
		moves bool
	}{
		"":                    {solo{epoch: 1}, []string{"exclude", "leave", "join"}, true},
		"the master is gone":  {solo{epoch: 1, errs: []error{ErrOrphaned, ErrOrphaned}}, []string{"exclude", "leave", "join", "join", "join"}, true},
		"nothing is steered":  {solo{}, []string{"exclude", "join"}, false},
		"it may not leave":    {solo{epoch: 1, stays: failed}, []string{"exclude", "leave", "join"}, false},
		"it stays left aside": {solo{epoch: 1, stays: failed, errs: []error{failed}}, []string{"exclude", "leave", "join", "join"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			seats := newSeats(Options{})
			keeper := c.solo
			keeper.seats = seats
			n := &Node{
				seats: seats, opts: Options{Logger: slog.New(slog.DiscardHandler)},
				links: links{mesh: peer.Solo(peer.Info{ID: 1, Slot: 1})},
			}
			n.keeper.set(&keeper)
			key := portKey{Network: "tcp", Address: "127.0.0.1:0"}
			before, err := seats.open(t.Context(), key, key.Address)
			require.NoError(t, err)
			accepted := servetest.AcceptAll(t, before.listener)
			n.move(key)
			after, err := seats.get(key)
			require.NoError(t, err)
			assert.Same(t, before.listener, after.listener)
			assert.Equal(t, c.moves, before.inode != after.inode)
			assert.Equal(t, c.asked, keeper.asked)
			require.NoError(t, servetest.Visit(after.listener.Addr()))
			require.NoError(t, after.listener.Poke(t.Context()))
			assert.EqualValues(t, 1, accepted.Load())
			require.NoError(t, seats.close())
			n.move(key) // does nothing any more
			assert.Error(t, servetest.Visit(after.listener.Addr()))
		})
	}
}
