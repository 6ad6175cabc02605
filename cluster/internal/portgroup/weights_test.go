package portgroup

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWeights(t *testing.T) {
	const (
		tr, su, wa = Healthy, Suspect, Warming
		un, st, le = Unknown, Stranger, Leaving
	)
	for name, c := range map[string]struct {
		group []Health
		want  []uint32
	}{
		"no member":                      {nil, nil},
		"all healthy":                    {[]Health{tr, tr, tr}, []uint32{1, 1, 1}},
		"a leaving member":               {[]Health{tr, le, tr}, []uint32{1, 0, 1}},
		"a member that is not ready":     {[]Health{wa, tr}, []uint32{0, 1}},
		"a stranger":                     {[]Health{tr, st}, []uint32{1, 0}},
		"more strangers than nodes":      {[]Health{st, st, tr, st}, []uint32{0, 0, 1, 0}},
		"a suspect":                      {[]Health{tr, su, tr}, []uint32{1, 0, 1}},
		"half suspect":                   {[]Health{tr, su}, []uint32{1, 0}},
		"more than half suspect":         {[]Health{tr, su, su}, []uint32{1, 1, 1}},
		"all suspect":                    {[]Health{su, su}, []uint32{1, 1}},
		"all suspect, and one leaves":    {[]Health{su, su, le}, []uint32{1, 1, 0}},
		"the last suspect":               {[]Health{su, le, st}, []uint32{1, 0, 0}},
		"all leave":                      {[]Health{le, le}, nil},
		"no member ready":                {[]Health{wa, wa}, nil},
		"only strangers":                 {[]Health{st}, nil},
		"one unknown":                    {[]Health{tr, un, tr}, []uint32{1, 0, 1}},
		"as many unknown as healthy":     {[]Health{tr, un}, []uint32{1, 0}},
		"most unknown":                   {[]Health{tr, un, un}, nil},
		"unknown, and others that leave": {[]Health{tr, un, un, le}, []uint32{1, 0, 0, 0}},
		"all unknown":                    {[]Health{un, un}, nil},
	} {
		assert.Equal(t, c.want, weigh(c.group), name)
	}
}

// TestWeightsAlwaysGoToAMember tries groups at random: an eligible member gets the connections, or the hash decides.
func TestWeightsAlwaysGoToAMember(t *testing.T) {
	for range 10_000 {
		group := make([]Health, rand.IntN(12))
		count := make(map[Health]int)
		for i := range group {
			group[i] = Health(rand.IntN(int(Leaving) + 1))
			count[group[i]]++
		}
		weights := weigh(group)
		if weights == nil {
			continue
		}
		given := 0
		for i, weight := range weights {
			if weight == 0 {
				continue
			}
			given++
			assert.True(t, group[i] == Healthy || group[i] == Suspect, "%v: %v", group, weights)
		}
		assert.NotZero(t, given, group)
		assert.GreaterOrEqual(t, 2*given, count[Healthy]+count[Suspect], "more than half is excluded: %v", group)
	}
}

func TestCover(t *testing.T) {
	const (
		tr, su, wa, st, le = Healthy, Suspect, Warming, Stranger, Leaving
	)
	for name, c := range map[string]struct {
		group []Health
		cpus  int
		want  []int
	}{
		"nothing to leave out": {[]Health{tr, tr, tr}, 2, nil},
		"one leaves":           {[]Health{tr, le, tr}, 2, []int{0, -1, 1}},
		"a suspect":            {[]Health{su, tr, tr}, 2, []int{-1, 0, 1}},
		"more than CPUs":       {[]Health{tr, tr, le, tr}, 2, []int{0, 1, -1, 0}},
		"too few for the CPUs": {[]Health{tr, le}, 2, nil},
		"all leave":            {[]Health{le, le}, 1, nil},
		"all suspect":          {[]Health{su, su}, 2, nil},
		"one is not ready":     {[]Health{wa, tr, le}, 1, []int{-1, 0, -1}},
		"only that":            {[]Health{wa, tr}, 1, nil},
		"a stranger":           {[]Health{st, tr, le}, 1, []int{-1, 0, -1}},
	} {
		assert.Equal(t, c.want, cover(c.group, c.cpus), name)
	}
}
