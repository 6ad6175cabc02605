package cluster

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

func membersOf(inodes ...uint32) (members []*member) {
	for _, inode := range inodes {
		members = append(members, &member{inode: inode})
	}
	return members
}

func TestPresume(t *testing.T) {
	m := membersOf(0, 1, 2, 3, 4, 5)
	a, b, c, d, x, y := m[0], m[1], m[2], m[3], m[4], m[5]
	in, out := func(m *member) change { return change{m, true} }, func(m *member) change { return change{m, false} }
	for name, one := range map[string]struct {
		changes []change
		want    []*member
	}{
		"nothing":                       {nil, []*member{a, b, c, d}},
		"one dies":                      {[]change{out(a)}, []*member{d, b, c}},
		"the last dies":                 {[]change{out(d)}, []*member{a, b, c}},
		"one joins":                     {[]change{in(x)}, []*member{a, b, c, d, x}},
		"one dies, another joins":       {[]change{out(b), in(x)}, []*member{a, nil, c, nil}},
		"the last dies, another joins":  {[]change{out(d), in(x)}, []*member{a, b, c, x}},
		"two die":                       {[]change{out(a), out(b)}, []*member{nil, nil}},
		"two that are last die":         {[]change{out(c), out(d)}, []*member{a, b}},
		"two join":                      {[]change{in(x), in(y)}, []*member{a, b, c, d, nil, nil}},
		"ours joins, then it dies":      {[]change{in(x), out(x)}, []*member{a, b, c, d}},
		"ours joins, and another one":   {[]change{in(x), in(y)}, []*member{a, b, c, d, nil, nil}},
		"ours leaves, and another dies": {[]change{out(a), out(c)}, []*member{d, b}},
		"all die":                       {[]change{out(a), out(b), out(c), out(d)}, []*member{}},
	} {
		presumed, ok := presume(m[:4], one.changes)
		require.True(t, ok, name)
		assert.Equal(t, one.want, presumed, name)
	}
	_, ok := presume(m[:4], []change{out(x)})
	assert.False(t, ok, "nobody leaves who was not there")
	_, ok = presume(m[:1], []change{in(b), in(c), in(d), in(x), in(y)})
	assert.False(t, ok, "too many")
}

// TestPresumeIsRight lets members come and go at random, some of whom are there only between two looks, which nobody
// notices.
func TestPresumeIsRight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	known, unknown := 0, 0
	for range 20_000 {
		all := membersOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
		base := all[:1+random.IntN(6)]
		array := reuseport.NewOrder(base...)
		var changes []change
		fresh := all[len(base):]
		brief := make(map[*member]bool) // nobody sees them
		for range random.IntN(7) {
			c := change{joins: random.IntN(2) == 0 && len(fresh) > 0}
			switch {
			case c.joins:
				c.member, fresh = fresh[0], fresh[1:]
				array.Join(c.member)
			case array.Len() > 0:
				c.member = array.Members()[random.IntN(array.Len())]
				array.Leave(c.member)
			default:
				continue
			}
			switch {
			case c.joins && random.IntN(3) == 0:
				brief[c.member] = true
			case brief[c.member] && !c.joins:
			default:
				changes = append(changes, c)
			}
		}
		for m := range brief { // they leave before the look
			array.Leave(m)
		}
		presumed, ok := presume(base, changes)
		if !ok {
			continue
		}
		order := array.Members()
		require.Len(t, presumed, len(order))
		for i, m := range presumed {
			if m == nil {
				unknown++
				continue
			}
			known++
			require.Same(t, order[i], m, "index %d of %v: base %v, changes %v", i, order, base, changes)
		}
	}
	t.Logf("%d known, %d unknown", known, unknown)
	assert.Greater(t, known, unknown)
}
