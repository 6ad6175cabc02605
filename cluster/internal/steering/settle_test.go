package steering

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/portgroup/portgrouptest"
	"github.com/multinode-go/multinode/reuseport"
)

// fakePort is the group of a port. Nodes do at once what they are asked to.
type fakePort struct {
	*group
	t       *testing.T
	random  *rand.Rand
	array   *portgrouptest.Array
	inodes  uint32          // that were given away
	drained map[*member]int // the epochs of those that were drained
	looks   int
}

func newFakePort(t *testing.T, random *rand.Rand) *fakePort {
	t.Helper()
	s, err := New(Config{Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {}})
	require.NoError(t, err)
	s.level, s.self = reuseport.RungBPF, -1
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	p := &fakePort{
		group: newGroup(portgroup.Key{}, nil, s.environment), t: t, random: random, array: portgrouptest.New(),
		drained: make(map[*member]int),
	}
	p.kernel = listing{array: p.array}
	return p
}

// listing is a kernel that lists the listeners of one port.
type listing struct {
	kernel.Kernel // panics
	array         *portgrouptest.Array
}

func (l listing) NewProbeConn(context.Context, *net.TCPAddr) (kernel.ProbeConn, error) {
	return nil, errors.ErrUnsupported
}

func (l listing) Now() time.Duration { return 0 }

func (l listing) Listeners(context.Context, string, string) (all []reuseport.Listener, err error) {
	for _, inode := range l.array.Inodes() {
		all = append(all, reuseport.Listener{Inode: inode})
	}
	return all, nil
}

func (p *fakePort) come() (inode uint32) {
	p.inodes++
	p.array.Listen(p.inodes)
	return p.inodes
}

// addNode lets a node join.
func (p *fakePort) addNode() {
	one := new(agent)
	var link portgroup.Agent = &fakeAgent{port: p}
	one.link.Store(&link)
	one.ready.Store(true)
	require.NoError(p.t, p.join(p.t.Context(), one))
	p.check()
}

// fakeAgent does at once what it is asked to.
type fakeAgent struct {
	portgroup.Agent // panics
	port            *fakePort
	inode           uint32
}

func (a *fakeAgent) Open(context.Context, portgroup.Key, string) (inode uint32, err error) {
	a.inode = a.port.come()
	return a.inode, nil
}

func (a *fakeAgent) Shut(context.Context, portgroup.Key) error {
	a.port.array.Close(a.inode)
	return nil
}

func (a *fakeAgent) Attach(_ context.Context, _ portgroup.Key, s reuseport.Steering, _ time.Duration) error {
	a.port.array.Attach(s)
	return nil
}

func (a *fakeAgent) Keep(context.Context, portgroup.Key, portgroup.Snapshot) error { return nil }

// check compares the map with the array, of which the list has been read just now.
func (p *fakePort) check() {
	p.t.Helper()
	p.looks++
	order, array := p.nodes.Order(), p.array.Inodes()
	require.Len(p.t, order, len(array))
	placed := make(map[uint32]bool)
	for i, m := range order {
		if !m.IsHole() {
			require.Equal(p.t, array[i], m.Inode, "index %d of %v", i, array)
			placed[m.Inode] = true
		}
	}
	for i, m := range order {
		require.False(p.t, m.IsHole() && placed[array[i]], "at a hole is a member that has another place")
	}
}

// drainNode excludes a node, which has nothing in its queue then.
func (p *fakePort) drainNode(m *member) {
	delete(p.drained, m)
	epoch, _, err := p.exclude(p.t.Context(), m.Node)
	if err == nil && epoch != 0 {
		p.drained[m] = epoch
		p.array.Drained(m.Inode)
	}
	p.check()
}

// leaveNode lets a node leave that was drained, if it may.
func (p *fakePort) leaveNode(m *member) (left bool) {
	again, err := p.leave(p.t.Context(), m.Node, p.drained[m])
	if left = err == nil && !again; left {
		require.False(p.t, p.array.Reached(m.Inode), "a node that leaves has got connections since it was drained")
		delete(p.drained, m)
	}
	p.check()
	return left
}

// fakeProbe is a probe that is under way.
type fakeProbe struct {
	sentProbe
	arrived  bool
	watching []*member
	found    *member
}

// proceed goes on with a probe by one step: it is sent, it arrives, it is answered.
func (p *fakePort) proceed(q *fakeProbe) (answered bool) {
	switch {
	case q.hole == nil:
		holes := p.nodes.Holes()
		if p.nodes.IsUnknown() || len(holes) == 0 {
			return false
		}
		var err error
		q.watching = p.callable()
		q.sentProbe, err = p.resolver.send(p.t.Context(), holes[p.random.IntN(len(holes))], 1)
		require.NoError(p.t, err)
	case !q.arrived:
		q.arrived = true
		if array := p.array.Inodes(); q.index < len(array) {
			if i := slices.IndexFunc(q.watching, func(m *member) bool { return m.Inode == array[q.index] }); i >= 0 {
				q.found = q.watching[i]
			}
		}
	default:
		require.NoError(p.t, p.resolver.note(p.t.Context(), q.sentProbe, report{witness: witness{member: q.found}}))
		p.check()
		answered = q.found != nil && p.nodes.Index(q.found) == q.index
		*q = fakeProbe{}
	}
	return answered
}

// TestGroupIsRight lets nodes join, leave and die, strangers come and go, seen or not, and the kernel answer late, all
// at random. Whenever its list was read, each member whose place is known has to be there; and no node may leave that may
// have got a connection since it was drained.
func TestGroupIsRight(t *testing.T) {
	const most = 9 // members
	random := rand.New(rand.NewPCG(3, 4))
	looks, answers, leaves, holes := 0, 0, 0, 0
	for range 1000 {
		p := newFakePort(t, random)
		var q fakeProbe
		for range 60 {
			array, nodes := p.array.Inodes(), p.callable()
			switch random.IntN(12) {
			case 0, 1:
				if len(array) < most {
					p.addNode()
				}
			case 2: // a stranger, which may be gone before it is seen
				if len(array) < most {
					p.come()
				}
			case 3, 4: // a death, which is not seen at once
				if len(array) > 0 {
					p.array.Close(array[random.IntN(len(array))])
				}
			case 5:
				if len(nodes) > 0 {
					p.drainNode(nodes[random.IntN(len(nodes))])
				}
			case 6, 7:
				for _, m := range nodes {
					if p.drained[m] != 0 && p.array.Index(m.Inode) >= 0 {
						if p.leaveNode(m) {
							leaves++
						}
						break
					}
				}
			case 8:
				for _, m := range p.nodes.Members() {
					m.Foreign = m.Node == nil
				}
				p.review(t.Context())
				p.check()
			case 9:
				if random.IntN(4) == 0 {
					p.doubt()
				}
				p.review(t.Context())
				p.check()
			default:
				if p.proceed(&q) {
					answers++
				}
			}
			holes += len(p.nodes.Holes())
		}
		looks += p.looks
	}
	t.Logf("%d looks, %d answers, %d leaves, %d holes", looks, answers, leaves, holes)
	assert.Greater(t, answers, 100)
	assert.Greater(t, leaves, 100)
	assert.Greater(t, holes, 1000)
}
