package framing

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// admittedOf returns which of the waiters are admitted.
func admittedOf(waiters []*waiter) []int {
	var is []int
	for i, w := range waiters {
		if w.admitted {
			is = append(is, i)
		}
	}
	return is
}

func TestRoomAdmitsInOrderAndByLimit(t *testing.T) {
	t.Parallel()
	var r room
	var waiters []*waiter
	for _, limit := range []int{50, 10, 100, 50, 100, 100} {
		waiters = append(waiters, r.enter(limit, 30))
	}
	r.admit()
	assert.Equal(t, []int{0, 2, 4, 5}, admittedOf(waiters), "30, 60, 90 and 120 bytes; no room for 10 after 30, nor for 50 after 60")
	assert.Equal(t, 120, r.reserved)
	assert.True(t, r.leave(waiters[0]))
	assert.Equal(t, 90, r.reserved)
	r.admit()
	assert.Equal(t, []int{2, 4, 5}, admittedOf(waiters))
	assert.True(t, r.leave(waiters[2]))
	assert.True(t, r.leave(waiters[4]))
	r.admit()
	assert.Equal(t, []int{3, 5}, admittedOf(waiters), "10 is still too little")
	assert.False(t, r.leave(waiters[1]))
	assert.True(t, r.leave(waiters[3]))
	assert.True(t, r.leave(waiters[5]))
	assert.Zero(t, r.reserved)
	assert.Zero(t, r.admitted)
	assert.Empty(t, r.waiting)
}

func TestRoomAdmitsFewAtATime(t *testing.T) {
	t.Parallel()
	var r room
	var waiters []*waiter
	for range 3 * maxAdmitted {
		waiters = append(waiters, r.enter(1<<20, 10))
	}
	for round := range 3 {
		r.admit()
		r.admit()
		admitted := admittedOf(waiters)
		assert.Len(t, admitted, maxAdmitted)
		assert.Equal(t, round*maxAdmitted, admitted[0])
		for _, i := range admitted {
			assert.True(t, r.leave(waiters[i]))
		}
	}
	again := r.enter(1, 1)
	assert.Contains(t, waiters, again)
	assert.False(t, again.admitted)
	assert.Empty(t, again.ready)
}
