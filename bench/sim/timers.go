package sim

import "math"

// timers are alarms, of which the earliest is known: a binary tree whose inner nodes hold the earlier one of their
// children's, as in a tournament. Setting one takes O(log n), and mostly less, as few of those that change win much.
type timers struct {
	at     []float64 // +Inf: it is not set
	winner []int     // by node; the root is 1, and the leaf of timer i is len(at)+i
}

func newTimers(n int) *timers {
	size := 1
	for size < n {
		size *= 2
	}
	t := &timers{at: make([]float64, size), winner: make([]int, 2*size)}
	for i := range t.at {
		t.at[i] = math.Inf(1)
		t.winner[size+i] = i
	}
	for node := size - 1; node > 0; node-- {
		t.winner[node] = t.winner[2*node]
	}
	return t
}

func (t *timers) set(i int, at float64) {
	t.at[i] = at
	for node := (len(t.at) + i) / 2; node > 0; node /= 2 {
		winner := t.winner[2*node]
		if other := t.winner[2*node+1]; t.at[other] < t.at[winner] {
			winner = other
		}
		if winner == t.winner[node] && winner != i {
			return // nothing above has changed
		}
		t.winner[node] = winner
	}
}

// next returns the earliest.
func (t *timers) next() (i int, at float64) {
	i = t.winner[1]
	return i, t.at[i]
}
