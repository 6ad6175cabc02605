package cluster

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWeights(t *testing.T) {
	const (
		tr, su, wa = trusted, suspect, warming
		un, st, le = unproved, stranger, leaving
	)
	for name, c := range map[string]struct {
		seats []standing
		want  []uint32
	}{
		"nobody":                          {nil, nil},
		"all trusted":                     {[]standing{tr, tr, tr}, []uint32{1, 1, 1}},
		"one that leaves":                 {[]standing{tr, le, tr}, []uint32{1, 0, 1}},
		"one that is not ready":           {[]standing{wa, tr}, []uint32{0, 1}},
		"a stranger":                      {[]standing{tr, st}, []uint32{1, 0}},
		"more strangers than nodes":       {[]standing{st, st, tr, st}, []uint32{0, 0, 1, 0}},
		"a suspect":                       {[]standing{tr, su, tr}, []uint32{1, 0, 1}},
		"half suspect":                    {[]standing{tr, su}, []uint32{1, 0}},
		"more than half suspect":          {[]standing{tr, su, su}, []uint32{1, 1, 1}},
		"all suspect":                     {[]standing{su, su}, []uint32{1, 1}},
		"all suspect, and one leaves":     {[]standing{su, su, le}, []uint32{1, 1, 0}},
		"the last suspect":                {[]standing{su, le, st}, []uint32{1, 0, 0}},
		"all leave":                       {[]standing{le, le}, nil},
		"nobody ready":                    {[]standing{wa, wa}, nil},
		"only strangers":                  {[]standing{st}, nil},
		"one unproved":                    {[]standing{tr, un, tr}, []uint32{1, 0, 1}},
		"as many unproved as trusted":     {[]standing{tr, un}, []uint32{1, 0}},
		"most unproved":                   {[]standing{tr, un, un}, nil},
		"unproved, and others that leave": {[]standing{tr, un, un, le}, []uint32{1, 0, 0, 0}},
		"all unproved":                    {[]standing{un, un}, nil},
	} {
		assert.Equal(t, c.want, weights(c.seats), name)
	}
}

// TestWeightsNeverGoToNobody tries groups at random: somebody who may have them gets the connections, or the hash decides.
func TestWeightsNeverGoToNobody(t *testing.T) {
	for range 10_000 {
		seats := make([]standing, rand.IntN(12))
		count := make(map[standing]int)
		for i := range seats {
			seats[i] = standing(rand.IntN(int(leaving) + 1))
			count[seats[i]]++
		}
		shares := weights(seats)
		if shares == nil {
			continue
		}
		given := 0
		for i, share := range shares {
			if share == 0 {
				continue
			}
			given++
			assert.True(t, seats[i] == trusted || seats[i] == suspect, "%v: %v", seats, shares)
		}
		assert.NotZero(t, given, seats)
		assert.GreaterOrEqual(t, 2*given, count[trusted]+count[suspect], "more than half is excluded: %v", seats)
	}
}

func TestCover(t *testing.T) {
	const (
		tr, su, wa, st, le = trusted, suspect, warming, stranger, leaving
	)
	for name, c := range map[string]struct {
		seats []standing
		cpus  int
		want  []int
	}{
		"nothing to leave out": {[]standing{tr, tr, tr}, 2, nil},
		"one leaves":           {[]standing{tr, le, tr}, 2, []int{0, -1, 1}},
		"a suspect":            {[]standing{su, tr, tr}, 2, []int{-1, 0, 1}},
		"more than CPUs":       {[]standing{tr, tr, le, tr}, 2, []int{0, 1, -1, 0}},
		"too few for the CPUs": {[]standing{tr, le}, 2, nil},
		"all leave":            {[]standing{le, le}, 1, nil},
		"all suspect":          {[]standing{su, su}, 2, nil},
		"one is not ready":     {[]standing{wa, tr, le}, 1, []int{-1, 0, -1}},
		"only that":            {[]standing{wa, tr}, 1, nil},
		"a stranger":           {[]standing{st, tr, le}, 1, []int{-1, 0, -1}},
	} {
		assert.Equal(t, c.want, cover(c.seats, c.cpus), name)
	}
}
