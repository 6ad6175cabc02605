package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func said(id string, at int64, node int) message {
	return message{ID: id, stamp: stamp{at, node}, Name: "somebody", Text: id}
}

func ids(messages []message) []string {
	names := []string{}
	for _, m := range messages {
		names = append(names, m.ID)
	}
	return names
}

func TestHistoryOrder(t *testing.T) {
	h := newHistory(10)
	for _, m := range []message{said("c", 2, 2), said("a", 1, 9), said("d", 3, 1), said("b", 2, 1)} {
		assert.True(t, h.merge(m))
	}
	assert.Equal(t, []string{"a", "b", "c", "d"}, ids(h.messages))
}

func TestHistoryKnowsAMessage(t *testing.T) {
	h := newHistory(10)
	assert.True(t, h.merge(said("a", 5, 1)))
	assert.False(t, h.merge(said("a", 5, 1)), "the same")
	assert.False(t, h.merge(said("a", 6, 1)), "said again, later")
	assert.True(t, h.merge(said("b", 4, 1)))
	assert.Equal(t, []string{"b", "a"}, ids(h.messages))
	assert.True(t, h.merge(said("a", 3, 2)), "said before, elsewhere")
	assert.Equal(t, []string{"a", "b"}, ids(h.messages))
	m, ok := h.get("a")
	assert.True(t, ok)
	assert.Equal(t, stamp{3, 2}, m.stamp)
	_, ok = h.get("c")
	assert.False(t, ok)
}

func TestHistoryBound(t *testing.T) {
	h := newHistory(3)
	for i := range 5 {
		assert.True(t, h.merge(said(fmt.Sprint(i), int64(10+i), 1)))
	}
	assert.Equal(t, []string{"2", "3", "4"}, ids(h.messages))
	assert.False(t, h.merge(said("old", 5, 1)), "older than all that is kept")
	assert.True(t, h.merge(said("between", 13, 2)))
	assert.Equal(t, []string{"3", "between", "4"}, ids(h.messages))
	assert.Len(t, h.stamps, 3)
	assert.True(t, h.merge(said("4", 1, 1)), "the oldest place is still one when its message was here")
	assert.Equal(t, []string{"4", "3", "between"}, ids(h.messages))
}

// Whatever way messages take, and whichever of them are given two stamps, all come to the same history.
func TestHistoriesBecomeTheSame(t *testing.T) {
	const seed, bound = 7, 20
	random := rand.New(rand.NewPCG(seed, seed))
	for range 200 {
		var all []message
		for i := range bound {
			id := fmt.Sprint(i)
			all = append(all, said(id, random.Int64N(50), 1+i), said(id, random.Int64N(50), 101+i))
		}
		var want []string
		for range 5 {
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			h := newHistory(bound)
			for _, m := range all {
				h.merge(m)
			}
			assert.True(t, slices.IsSortedFunc(h.messages, func(a, b message) int { return a.compare(b.stamp) }))
			if want == nil {
				want = ids(h.messages)
			}
			assert.Equal(t, want, ids(h.messages))
			assert.Len(t, h.stamps, len(h.messages))
		}
	}
}

func TestHistoryCatchUp(t *testing.T) {
	h := newHistory(3)
	for i := range 4 {
		h.merge(said(fmt.Sprint(i), int64(10+i), 1))
	}
	assert.Equal(t, []string{"1", "2", "3"}, ids(h.missing(nil)))
	assert.Empty(t, h.missing(h.refs()))
	have := []ref{
		{"2", stamp{12, 1}},
		{"3", stamp{15, 2}},    // in another place
		{"0", stamp{10, 1}},    // not kept any more
		{"lost", stamp{14, 2}}, // with its node
	}
	assert.Equal(t, []string{"1", "3"}, ids(h.missing(have)))
	assert.Equal(t, []string{"lost"}, h.gone(have))
	assert.Equal(t, []string{"2"}, newHistory(3).gone([]ref{{"2", stamp{1, 1}}}), "an empty history has dropped nothing")
}
