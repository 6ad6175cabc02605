package steering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/reuseport"
)

// members are the nodes of a group, all in this process.
type members struct {
	*group
	steering  *Steering
	t         *testing.T
	agents    []*agent
	listeners []*local.Listeners
	forgotten bool     // no snapshot is kept
	chosen    chan int // who has accepted a connection
	over      chan struct{}
}

// observed are listeners of which a test sees what they are asked.
type observed struct {
	*local.Listeners
	attached, expected func() // before the answer is given
	came               func()
}

// observe lets the i-th member be asked through o.
func (m *members) observe(i int, o observed) {
	nothing := func() {}
	for _, f := range []*func(){&o.attached, &o.expected, &o.came} {
		if *f == nil {
			*f = nothing
		}
	}
	o.Listeners = m.listeners[i]
	m.steering.Linked(m.agents[i].id, 0, o)
}

func (o observed) Attach(ctx context.Context, port portgroup.Key, s reuseport.Steering, until time.Duration) error {
	defer o.attached()
	return o.Listeners.Attach(ctx, port, s, until)
}

func (o observed) Expect(ctx context.Context, port portgroup.Key, source netip.AddrPort) error {
	defer o.expected()
	return o.Listeners.Expect(ctx, port, source)
}

func (o observed) Await(ctx context.Context, port portgroup.Key, source netip.AddrPort) (inode uint32, err error) {
	inode, err = o.Listeners.Await(ctx, port, source)
	if err == nil { // it is the one who knows
		o.came()
	}
	return inode, err
}

// newMembers makes a group that is steered by program, with so many nodes that are ready.
func newMembers(t *testing.T, count int) *members {
	t.Helper()
	needSteering(t)
	s, err := New(Config{Force: "cbpf", Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(t, err)
	g, err := s.group(t.Context(), portgroup.Key{Network: "tcp", Address: "127.0.0.1:0"})
	require.NoError(t, err)
	m := &members{group: g, steering: s, t: t, chosen: make(chan int), over: make(chan struct{})}
	for id := 1; id <= count; id++ {
		m.add(id)
	}
	t.Cleanup(func() {
		close(m.over)
		for _, l := range m.listeners {
			assert.NoError(t, l.Close())
		}
		assert.NoError(t, s.Close())
	})
	return m
}

// add adds a member that is ready and accepts.
func (m *members) add(id int) {
	m.t.Helper()
	m.addAccepting(id)
	m.look(m.t.Context())
}

func (m *members) addAccepting(id int) {
	m.t.Helper()
	m.addSilent(id)
	one, err := m.listeners[len(m.listeners)-1].Get(m.key)
	require.NoError(m.t, err)
	go func() { // ends with the listener, or the test
		for {
			conn, err := one.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			select {
			case m.chosen <- id:
			case <-m.over:
				return
			}
		}
	}()
}

// addSilent adds a member that is ready, and does not accept.
func (m *members) addSilent(id int) *agent {
	m.t.Helper()
	p := m.steering.expect(id, 0)
	m.agents, m.listeners = append(m.agents, p), append(m.listeners, local.New(false, nil))
	m.observe(len(m.agents)-1, observed{})
	require.NoError(m.t, m.join(m.t.Context(), p))
	p.ready.Store(true)
	return p
}

// spread connects so many times, and returns who was chosen how often.
func (m *members) spread(connections int) map[int]int {
	m.t.Helper()
	got := make(map[int]int)
	for range connections {
		conn, err := net.Dial("tcp", m.address)
		require.NoError(m.t, err)
		got[<-m.chosen]++
		require.NoError(m.t, conn.Close())
	}
	return got
}

func TestGroupExcludesAndLetsLeave(t *testing.T) {
	m := newMembers(t, 4)
	for _, gone := range []int{2, 1} { // in the middle, then the first
		i := gone - 1
		epoch, _, err := m.exclude(t.Context(), m.agents[i])
		require.NoError(t, err)
		require.NotZero(t, epoch)
		assert.NotContains(t, m.spread(100), gone)
		again, err := m.leave(t.Context(), m.agents[i], epoch)
		require.NoError(t, err)
		require.False(t, again)
	}
	assert.Len(t, m.spread(200), 2)
	m.add(5)
	assert.Len(t, m.spread(200), 3)
	assert.True(t, m.certain())
}

// TestGroupIsAskedAnewAfterTwoDeaths: which of the others has moved where cannot be known.
func TestGroupIsAskedAnewAfterTwoDeaths(t *testing.T) {
	m := newMembers(t, 5)
	require.NoError(t, m.listeners[0].Close())
	require.NoError(t, m.listeners[2].Close())
	m.look(t.Context())
	assert.True(t, m.certain())
	for _, i := range []int{1, 3} { // is each where it is thought to be?
		epoch, _, err := m.exclude(t.Context(), m.agents[i])
		require.NoError(t, err)
		require.NotZero(t, epoch)
	}
	assert.Equal(t, map[int]int{5: 50}, m.spread(50))
}

// mislead makes the group believe in an order that another master has told.
func (m *members) mislead(inodes ...uint32) {
	m.nodes.Doubt()
	m.nodes.Tell(&portgroup.Snapshot{At: monotonic.Now(), Inodes: inodes})
}

// TestGroupWithAWrongOrder: a member may get the connections of another one, but no connection is lost.
func TestGroupWithAWrongOrder(t *testing.T) {
	t.Run("swapped", func(t *testing.T) {
		m := newMembers(t, 3)
		order := m.nodes.Inodes()
		slices.Reverse(order)
		m.mislead(order...)
		_, _, err := m.exclude(t.Context(), m.agents[0])
		require.NoError(t, err)
		require.Equal(t, order, m.nodes.Inodes(), "it believes it")
		assert.NotEmpty(t, m.spread(100))
	})
	t.Run("too long", func(t *testing.T) {
		m := newMembers(t, 2)
		m.nodes.Join(&member{Node: m.agents[1]})
		m.look(t.Context())
		assert.Len(t, m.spread(300), 2)
	})
	t.Run("beyond the end only", func(t *testing.T) {
		m := newMembers(t, 2)
		m.mislead(append([]uint32{1, 2}, m.nodes.Inodes()...)...)
		m.look(t.Context())
		assert.Len(t, m.spread(300), 2, "the kernel's hash")
	})
	t.Run("unknown", func(t *testing.T) {
		m := newMembers(t, 3)
		m.doubt()
		m.look(t.Context())
		assert.True(t, m.certain(), "it was asked")
		epoch, _, err := m.exclude(t.Context(), m.agents[1])
		require.NoError(t, err)
		require.NotZero(t, epoch)
		assert.NotContains(t, m.spread(100), 2)
	})
}

func TestGroupLastOneLeaves(t *testing.T) {
	m := newMembers(t, 2)
	for _, i := range []int{0, 1} {
		epoch, _, err := m.exclude(t.Context(), m.agents[i])
		require.NoError(t, err)
		assert.Equal(t, i == 1, epoch == 0, "the last one gets connections until it closes")
		again, err := m.leave(t.Context(), m.agents[i], epoch)
		require.NoError(t, err)
		assert.False(t, again)
	}
	assert.Empty(t, m.nodes.Members())
	_, _, err := m.exclude(t.Context(), m.agents[0])
	assert.ErrorIs(t, err, net.ErrClosed)
}

// TestGroupLeavesAtOnce: several are excluded at the same time, and each is told to be so again when another one's leave
// has moved it.
func TestGroupLeavesAtOnce(t *testing.T) {
	m := newMembers(t, 6)
	var leaves sync.WaitGroup
	for i := range 5 {
		leaves.Go(func() {
			for tries := 1; ; tries++ {
				epoch, _, err := m.exclude(context.Background(), m.agents[i])
				if !assert.NoError(t, err) { //nolint:testifylint // not in the goroutine of the test
					return
				}
				again, err := m.leave(context.Background(), m.agents[i], epoch)
				if !assert.NoError(t, err) || !again {
					return
				}
			}
		})
	}
	leaves.Wait()
	assert.Equal(t, map[int]int{6: 20}, m.spread(20))
}

func TestGroupWithASuspect(t *testing.T) {
	m := newMembers(t, 3)
	m.agents[1].suspect.Store(true)
	m.look(t.Context())
	assert.NotContains(t, m.spread(100), 2)
	m.agents[0].suspect.Store(true)
	m.look(t.Context())
	assert.Len(t, m.spread(300), 3, "more than half cannot be true")
	for _, p := range m.agents {
		p.suspect.Store(false)
	}
	m.look(t.Context())
	assert.Len(t, m.spread(300), 3)
	assert.Equal(t, fmt.Sprint(map[int]float64{1: 100. / 3, 2: 100. / 3, 3: 100. / 3}), fmt.Sprint(m.status().weight))
}

// A node becomes suspect while the weights from before are published: it gets connections until the next look, and Status
// says so.
func TestGroupWithASuspectMeanwhile(t *testing.T) {
	m := newMembers(t, 3)
	late := m.agents[1]
	for i := range m.agents {
		m.observe(i, observed{attached: func() { late.suspect.Store(true) }})
	}
	m.look(t.Context())
	assert.True(t, late.suspect.Load())
	assert.Positive(t, m.status().weight[late.id])
	assert.Contains(t, m.spread(100), late.id)
	m.look(t.Context())
	assert.Zero(t, m.status().weight[late.id])
	assert.NotContains(t, m.spread(100), late.id)
}

// inherited returns the group of these members as a new master has it from them, and how often it probes.
func (m *members) inherited() (next *members, probes *atomic.Int32) {
	m.t.Helper()
	s, err := New(Config{Force: "cbpf", Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(m.t, err)
	m.t.Cleanup(func() { assert.NoError(m.t, s.Close()) })
	next, probes = &members{steering: s, t: m.t, chosen: m.chosen, over: m.over, listeners: m.listeners}, new(atomic.Int32)
	for i, l := range m.listeners {
		p := s.expect(m.agents[i].id, 0)
		p.ready.Store(true)
		next.agents = append(next.agents, p)
		next.observe(i, observed{expected: func() { probes.Add(1) }})
		for _, one := range l.Infos() {
			one.Address = m.address
			if m.forgotten {
				one.Snapshot = nil
			}
			s.inherit(p, one)
		}
	}
	next.group, err = s.groups.find(m.key)
	require.NoError(m.t, err)
	require.NotNil(m.t, next.group)
	return next, probes
}

// TestGroupIsInherited: a new master knows the group from what the members were told by the last one.
func TestGroupIsInherited(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*members)
		asks      bool
	}{
		"as it was":  {func(*members) {}, false},
		"one died":   {func(m *members) { require.NoError(t, m.listeners[0].Close()) }, false},
		"two died":   {func(m *members) { require.NoError(t, errors.Join(m.listeners[0].Close(), m.listeners[2].Close())) }, true},
		"a stranger": {func(m *members) { strange(t, m.address) }, false},
		"the last one died, unreported": {func(m *members) {
			require.NoError(t, m.listeners[4].Close())
			m.doubt()
		}, false},
		"no node has it": {func(m *members) { m.forgotten = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMembers(t, 5)
			m.awaitReplicas()
			c.meanwhile(m)
			next, probes := m.inherited()
			next.look(t.Context())
			assert.True(t, next.certain())
			assert.Equal(t, c.asks, probes.Load() > 0, "%d probes", probes.Load())
			for _, i := range []int{1, 3} { // is each where it is thought to be?
				epoch, _, err := next.exclude(t.Context(), next.agents[i])
				require.NoError(t, err)
				require.NotZero(t, epoch)
			}
			got := next.spread(60)
			assert.NotContains(t, got, 2)
			assert.NotContains(t, got, 4)
		})
	}
}

// awaitReplicas waits until the snapshot is with those that keep it.
func (m *members) awaitReplicas() {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		keep := 0
		for _, l := range m.listeners {
			if told := l.Infos()[0].Snapshot; told != nil && slices.Equal(told.Inodes, m.nodes.Inodes()) {
				keep++
			}
		}
		return keep == maxReplicas
	}, await.Limit, time.Millisecond)
}

// hold lets a member keep an answer back until release is called. asked is closed when it is waited for.
func (m *members) hold(i int) (asked <-chan struct{}, release func()) {
	waits, free := make(chan struct{}), make(chan struct{})
	tell := sync.OnceFunc(func() { close(waits) })
	m.observe(i, observed{came: func() {
		tell()
		<-free
	}})
	return waits, sync.OnceFunc(func() { close(free) })
}

// startLook looks in a goroutine that ends with the probes. The channel that it returns is closed then.
func (m *members) startLook() (looked chan struct{}) {
	looked = make(chan struct{})
	go func() {
		defer close(looked)
		m.look(context.Background())
	}()
	return looked
}

// lookUntil looks until asked is closed: on a slow machine a probe may have been given up before that.
func (m *members) lookUntil(asked <-chan struct{}) (looked chan struct{}) {
	for {
		m.doubt()
		looked = m.startLook()
		select {
		case <-asked:
			return looked
		case <-looked:
		}
	}
}

// TestGroupContinuesDuringAProbe: while a probe is under way, and no answer arrives, a node joins, another one leaves,
// and Status tells what the master waits for. The order of what happens shows it, not how long it takes.
func TestGroupContinuesDuringAProbe(t *testing.T) {
	m := newMembers(t, 4)
	asked, release := m.hold(1)
	looked := m.lookUntil(asked)
	isLooking := func() bool { return !closed.Is(looked) }
	d := m.status()
	require.False(t, d.asking.IsZero())
	out, _ := m.steering.Status(m.key)
	assert.Equal(t, doingAsk, out.Doing)
	assert.False(t, out.Since.IsZero())

	p := m.steering.expect(9, 0)
	m.listeners = append(m.listeners, local.New(false, nil))
	m.steering.Linked(9, 0, m.listeners[4])
	require.NoError(t, m.join(t.Context(), p))
	require.True(t, isLooking(), "a join does not wait for probes")
	_, _, err := m.exclude(t.Context(), m.agents[0])
	require.NoError(t, err)
	require.True(t, isLooking(), "nor does an exclusion")
	_, err = m.leave(t.Context(), m.agents[0], 0)
	require.NoError(t, err)
	require.True(t, isLooking(), "nor does a leave")
	release()
	<-looked
	m.look(t.Context())
	assert.True(t, m.certain())
	assert.Empty(t, m.nodes.Holes())
	out, _ = m.steering.Status(m.key)
	assert.Empty(t, out.Doing)
	for _, i := range []int{1, 2} { // is each where it is thought to be?
		epoch, _, err := m.exclude(t.Context(), m.agents[i])
		require.NoError(t, err)
		require.NotZero(t, epoch)
	}
	assert.Equal(t, map[int]int{4: 40}, m.spread(40), "the new one is not ready")
}

// TestAnswerIsVoidAfterALeave: a member has answered for an index, and another one leaves before the answer is known,
// so that there is another one at that index now.
func TestAnswerIsVoidAfterALeave(t *testing.T) {
	m := newMembers(t, 4)
	asked, release := m.hold(3) // the last index is asked first
	looked := m.lookUntil(asked)
	_, err := m.leave(t.Context(), m.agents[0], 0) // the last one moves to index 0
	require.NoError(t, err)
	m.addAccepting(5) // at index 3 now
	release()
	<-looked
	m.look(t.Context())
	require.True(t, m.certain())
	for _, i := range []int{1, 2, 3} {
		epoch, _, err := m.exclude(t.Context(), m.agents[i])
		require.NoError(t, err)
		require.NotZero(t, epoch)
	}
	assert.Equal(t, map[int]int{5: 40}, m.spread(40))
}

// strange lets a stranger listen on the port, who takes nothing.
func strange(t *testing.T, address string) {
	t.Helper()
	l, err := reuseport.Listen(t.Context(), "tcp", address, reuseport.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
}
