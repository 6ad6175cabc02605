package portgroup

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/portgroup/portgrouptest"
	"github.com/multinode-go/multinode/reuseport"
)

var (
	histories = flag.Int("histories", 0, "how many random histories of a group are tried; 0: a million, or with the race detector 20,000")
	seed      = flag.Uint64("seed", 0, "of the histories; 0: a random one")
)

// kernel is a group as the kernel has it. Its master has a map of it.
type kernel struct {
	tb      testing.TB
	random  *rand.Rand
	array   *portgrouptest.Array
	inodes  uint32 // that were given away
	nodes   *Map[*node]
	kept    *Snapshot
	since   map[uint32]int // the epochs of those that were excluded
	history []string

	listed []uint32 // the kernel's list, as of a look that has not come yet
	late   bool     // there is one

	probed   bool
	arrived  bool
	hole     *member
	index    int
	shifts   int
	found    *member
	certain  int // looks after which all was certain
	resolved int // probes
}

func newKernel(tb testing.TB, random *rand.Rand) *kernel {
	tb.Helper()
	return &kernel{
		tb: tb, random: random, array: portgrouptest.New(), nodes: New[*node](), since: make(map[uint32]int),
	}
}

func (k *kernel) note(event string) { k.history = append(k.history, event) }

func (k *kernel) come() (inode uint32) {
	k.inodes++
	k.array.Listen(k.inodes)
	return k.inodes
}

// look tells the map of the list as it was when it was read, and steers by what is known then.
func (k *kernel) look(listed []uint32) {
	k.nodes.Look(listed)
	order := k.nodes.Order()
	if len(order) != len(listed) {
		k.fail("the map has %d indexes", len(order))
	}
	placed := make(map[uint32]bool)
	for i, m := range order {
		if !m.IsHole() {
			placed[m.Inode] = true
			if m.Inode != listed[i] {
				k.fail("index %d is said to be %d's", i, m.Inode)
			}
		}
	}
	for i, m := range order {
		if m.IsHole() && placed[listed[i]] {
			k.fail("at the hole %d is a member that has another place", i)
		}
	}
	if k.nodes.IsCertain() {
		k.certain++
		for _, m := range k.nodes.Members() {
			if m.HasNode() && !m.Node.suspect && !slices.Contains(order, m) {
				k.fail("it is certain, and %d has no place", m.Inode)
			}
		}
	}
	k.steer()
	k.kept = &Snapshot{Inodes: k.nodes.Inodes()}
}

func (k *kernel) steer() {
	weights := k.nodes.Weights()
	k.nodes.Steered(weights)
	if weights == nil {
		k.nodes.Leak()
	}
	k.array.Attach(reuseport.Steering{Weights: weights})
	if k.late { // it does not know yet what has happened since
		return
	}
	for inode, epoch := range k.since {
		if m := k.nodes.ByInode(inode); m != nil && epoch == k.nodes.Epoch() && k.nodes.Excludes(m) && k.array.Reached(inode) {
			k.fail("%d was excluded, and has got connections", inode)
		}
	}
}

func (k *kernel) fail(format string, args ...any) {
	k.tb.Helper()
	k.tb.Errorf("after %v, with the array %v: "+format, append([]any{k.history, k.array.Inodes()}, args...)...)
	runtime.Goexit() // FailNow is for the goroutine of the test
}

// step does one thing, at random. While a look is late only unreported events happen.
func (k *kernel) step() {
	const most = 7 // members
	array, kind := k.array.Inodes(), k.random.IntN(15)
	if k.late && kind > 4 {
		k.note("look")
		k.look(k.listed)
		k.late = false
		return
	}
	switch kind {
	case 0, 1:
		if len(array) < most {
			k.note("stranger")
			k.come()
		}
	case 2, 3:
		if len(array) > 0 {
			inode := array[k.random.IntN(len(array))]
			k.note("death")
			k.array.Close(inode)
		}
	case 4, 5:
		k.note("list")
		k.listed, k.late = array, true
	case 6, 7:
		if len(array) < most {
			k.note("join")
			k.nodes.Join(&member{Inode: k.come(), Node: &node{ready: true, suspect: k.random.IntN(8) == 0}})
		}
	case 8:
		k.leave()
	case 9:
		k.exclude()
	case 10:
		k.succeed()
	default:
		k.probe()
	}
}

// one returns a node's member that the kernel still has.
func (k *kernel) one() *member {
	there := slices.DeleteFunc(slices.Clone(k.nodes.Members()), func(m *member) bool {
		return !m.HasNode() || k.array.Index(m.Inode) < 0
	})
	if len(there) == 0 {
		return nil
	}
	return there[k.random.IntN(len(there))]
}

func (k *kernel) leave() {
	m := k.one()
	if m == nil {
		return
	}
	k.note("leave")
	weights := k.nodes.Steering()
	safe := k.nodes.Excludes(m) && weights[len(weights)-1] == 0
	k.array.Close(m.Inode)
	k.nodes.Leave(m)
	delete(k.since, m.Inode)
	if !safe {
		k.nodes.Leak()
	}
}

func (k *kernel) exclude() {
	m := k.one()
	if m == nil {
		return
	}
	k.note("exclude")
	m.Leaving = true
	k.look(k.array.Inodes())
	if k.nodes.Excludes(m) {
		k.since[m.Inode] = k.nodes.Epoch()
		k.array.Drained(m.Inode)
	}
}

// succeed makes another master take the group over.
func (k *kernel) succeed() {
	k.note("successor")
	before := k.nodes.Members()
	k.nodes, k.probed = New[*node](), false
	clear(k.since)
	for _, m := range before {
		if m.HasNode() && k.array.Index(m.Inode) >= 0 {
			if k.kept != nil {
				k.nodes.Tell(k.kept)
			}
			k.nodes.Adopt(m.Node, m.Inode)
		}
	}
	k.look(k.array.Inodes())
}

// probe advances a probe of a hole by one step: it is sent, it arrives, it is answered.
func (k *kernel) probe() {
	switch {
	case !k.probed:
		holes := k.nodes.Holes()
		if k.nodes.IsUnknown() || len(holes) == 0 {
			return
		}
		k.note("probe")
		k.hole = holes[k.random.IntN(len(holes))]
		k.index, k.shifts, k.probed, k.arrived, k.found = k.nodes.Index(k.hole), k.nodes.Shifts(), true, false, nil
	case !k.arrived:
		k.note("arrival")
		k.arrived = true
		if array := k.array.Inodes(); k.index < len(array) {
			if m := k.nodes.ByInode(array[k.index]); m != nil && m.HasNode() {
				k.found = m
			}
		}
	default:
		k.note("answer")
		k.probed = false
		listed := k.array.Inodes()
		k.look(listed)
		if k.found == nil || k.nodes.Shifts() != k.shifts || k.nodes.Index(k.hole) != k.index || !slices.Contains(k.nodes.Members(), k.found) {
			return
		}
		k.nodes.Resolve(k.hole, k.found)
		k.resolved++
		k.look(listed)
	}
}

// TestMapIsRight lets nodes join and leave, members die, strangers come and go, masters follow each other and looks and probes
// come late, all at random. The kernel's array is appended to by a join, and a leave moves its last member.
func TestMapIsRight(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	if *histories == 0 {
		*histories = 1_000_000
		if isRaced {
			*histories /= 50
		}
	}
	workers := runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	var mu sync.Mutex
	certain, resolved := 0, 0
	for worker := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(*seed, uint64(worker)))
			for range *histories / workers {
				k := newKernel(t, random)
				for range 4 + random.IntN(28) {
					k.step()
				}
				mu.Lock()
				certain, resolved = certain+k.certain, resolved+k.resolved
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("seed %d: %d looks after which all was certain, %d probes answered", *seed, certain, resolved)
	assert.Greater(t, certain, *histories)
	assert.Greater(t, resolved, *histories/500)
}

// TestSnapshotIsUsedOnce: what a look has found out is newer.
func TestSnapshotIsUsedOnce(t *testing.T) {
	m := New[*node]()
	m.Tell(&Snapshot{Inodes: []uint32{1, 2}})
	for inode := range uint32(2) {
		m.Adopt(new(node), inode+1)
	}
	m.Look([]uint32{2, 1})
	require.True(t, m.IsCertain())
	assert.Equal(t, []uint32{1, 2}, m.Inodes())
	m.Doubt()
	m.Look([]uint32{2, 1})
	assert.Len(t, m.Holes(), 2)
	m.Tell(&Snapshot{At: 2, Inodes: []uint32{2, 1}})
	m.Tell(&Snapshot{At: 1, Inodes: []uint32{1, 2}})
	m.Look([]uint32{2, 1})
	assert.Equal(t, []uint32{2, 1}, m.Inodes(), "the newest")
}

// TestDeathBeforeAJoin: when a member dies before another one joins, the last index is beyond the group for a moment, where the
// hash decides, also for excluded members.
func TestDeathBeforeAJoin(t *testing.T) {
	m := New[*node]()
	for inode := uint32(1); inode <= 3; inode++ {
		m.Join(&member{Inode: inode, Node: &node{ready: true}})
		m.Look([]uint32{1, 2, 3}[:inode])
	}
	m.ByInode(1).Leaving, m.ByInode(2).Leaving = true, true
	m.Steered(m.Weights())
	require.Equal(t, []uint32{0, 0, 1}, m.Steering())
	epoch := m.Epoch()
	m.Join(&member{Inode: 4, Node: &node{ready: true}})
	m.Look([]uint32{1, 3, 4})
	assert.Greater(t, m.Epoch(), epoch)
}
