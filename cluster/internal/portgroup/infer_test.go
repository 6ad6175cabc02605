package portgroup

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

type member = Member[*node]

// node is a node of a test.
type node struct{ ready, suspect bool }

func (n *node) IsReady() bool   { return n.ready }
func (n *node) IsSuspect() bool { return n.suspect }

func membersOf(inodes ...uint32) (members []*member) {
	for _, inode := range inodes {
		members = append(members, &member{Inode: inode})
	}
	return members
}

func TestInfer(t *testing.T) {
	m := membersOf(0, 1, 2, 3, 4, 5)
	a, b, c, d, x, y := m[0], m[1], m[2], m[3], m[4], m[5]
	in, out := func(m *member) change[*node] { return change[*node]{m, true} }, func(m *member) change[*node] { return change[*node]{m, false} }
	for name, one := range map[string]struct {
		changes []change[*node]
		want    []*member
	}{
		"nothing":                       {nil, []*member{a, b, c, d}},
		"one dies":                      {[]change[*node]{out(a)}, []*member{d, b, c}},
		"the last dies":                 {[]change[*node]{out(d)}, []*member{a, b, c}},
		"one joins":                     {[]change[*node]{in(x)}, []*member{a, b, c, d, x}},
		"one dies, another joins":       {[]change[*node]{out(b), in(x)}, []*member{a, nil, c, nil}},
		"the last dies, another joins":  {[]change[*node]{out(d), in(x)}, []*member{a, b, c, x}},
		"two die":                       {[]change[*node]{out(a), out(b)}, []*member{nil, nil}},
		"two that are last die":         {[]change[*node]{out(c), out(d)}, []*member{a, b}},
		"two join":                      {[]change[*node]{in(x), in(y)}, []*member{a, b, c, d, nil, nil}},
		"ours joins, then it dies":      {[]change[*node]{in(x), out(x)}, []*member{a, b, c, d}},
		"ours joins, and another one":   {[]change[*node]{in(x), in(y)}, []*member{a, b, c, d, nil, nil}},
		"ours leaves, and another dies": {[]change[*node]{out(a), out(c)}, []*member{d, b}},
		"all die":                       {[]change[*node]{out(a), out(b), out(c), out(d)}, []*member{}},
	} {
		inferred, ok := infer(m[:4], one.changes)
		require.True(t, ok, name)
		assert.Equal(t, one.want, inferred, name)
	}
	hole := newHole[*node]()
	for name, one := range map[string]struct {
		base    []*member
		changes []change[*node]
		want    []*member
	}{
		"one at a hole dies":                  {[]*member{a, hole, c}, []change[*node]{out(b)}, []*member{a, hole}},
		"one at a hole dies, which is last":   {[]*member{a, c, hole}, []change[*node]{out(b)}, []*member{a, c}},
		"a hole that is last moves":           {[]*member{a, b, hole}, []change[*node]{out(a)}, []*member{hole, b}},
		"one at a hole dies, another joins":   {[]*member{hole, b, c}, []change[*node]{out(a), in(x)}, []*member{hole, b, nil}},
		"one joins behind a hole":             {[]*member{a, hole}, []change[*node]{in(x)}, []*member{a, hole, x}},
		"one joins and dies, of two at holes": {[]*member{a, hole}, []change[*node]{in(x), out(x)}, []*member{a, nil}},
	} {
		inferred, ok := infer(one.base, one.changes)
		require.True(t, ok, name)
		assert.Equal(t, one.want, inferred, name)
	}
	_, ok := infer(m[:4], []change[*node]{out(x)})
	assert.False(t, ok, "a member that was not there cannot leave")
	_, ok = infer(m[:1], []change[*node]{in(b), in(c), in(d), in(x), in(y)})
	assert.False(t, ok, "too many")
}

// TestInferIsRight makes members join and leave at random. Some are there only between two looks, and stay unnoticed. The indexes of
// some are not known: they are at holes.
func TestInferIsRight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	known, unknown, kept := 0, 0, 0
	for range 20_000 {
		all := membersOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
		there := all[:1+random.IntN(6)]
		array := reuseport.NewOrder(there...)
		base := slices.Clone(there)
		for i := range base {
			if random.IntN(4) == 0 {
				base[i] = newHole[*node]()
			}
		}
		before := slices.Clone(base)
		var changes []change[*node]
		fresh := all[len(there):]
		brief := make(map[*member]bool) // no look sees them
		for range random.IntN(7) {
			c := change[*node]{joins: random.IntN(2) == 0 && len(fresh) > 0}
			switch {
			case c.joins:
				c.Member, fresh = fresh[0], fresh[1:]
				array.Join(c.Member)
			case array.Len() > 0:
				c.Member = array.Members()[random.IntN(array.Len())]
				array.Leave(c.Member)
			default:
				continue
			}
			switch {
			case c.joins && random.IntN(3) == 0:
				brief[c.Member] = true
			case brief[c.Member] && !c.joins:
			default:
				changes = append(changes, c)
			}
		}
		for m := range brief { // they leave before the look
			array.Leave(m)
		}
		inferred, ok := infer(base, changes)
		require.Equal(t, before, base, "it is only read")
		if !ok {
			continue
		}
		order := array.Members()
		require.Len(t, inferred, len(order))
		for i, m := range inferred {
			switch {
			case m == nil:
				unknown++
			case m.IsHole():
				kept++
				require.NotContains(t, inferred, order[i], "at a hole is a member that has no other place")
			default:
				known++
				require.Same(t, order[i], m, "index %d of %v: base %v, changes %v", i, order, base, changes)
			}
		}
	}
	t.Logf("%d known, %d unknown, %d at holes as before", known, unknown, kept)
	assert.Greater(t, known, unknown)
	assert.Greater(t, kept, 1000)
}
