package portgroup

// Health is the state of the member at one index of a group, as far as it is known.
type Health int

// The healths.
const (
	Unknown  Health = iota // it may be ours, which is not proved
	Stranger               // it is not ours
	Warming                // ours, and is not ready
	Healthy
	Suspect // ours, and does not answer
	Leaving // ours, and is to get nothing more
)

// weigh decides which members get new connections. It returns nil for the kernel's hash when too little is known: when no member
// is eligible, or when more than half of the members that may be ours are unknown. Suspects get nothing, unless that would
// exclude more than half of the eligible.
func weigh(group []Health) []uint32 {
	var count [Leaving + 1]int
	for _, h := range group {
		count[h]++
	}
	eligible := count[Healthy] + count[Suspect]
	if eligible == 0 || count[Unknown] > eligible+count[Leaving]+count[Warming] {
		return nil
	}
	spare := 2*count[Suspect] > eligible // too many to be true
	weights := make([]uint32, len(group))
	for i, h := range group {
		if h == Healthy || h == Suspect && spare {
			weights[i] = 1
		}
	}
	return weights
}

// cover decides which CPU's connections each listener gets where only SO_INCOMING_CPU can steer: with every CPU covered by one of
// the eligible listeners, the others get nothing. -1 is no CPU. It returns nil when there are too few eligible listeners to cover
// all CPUs, or nothing to leave out: then the hash decides.
func cover(group []Health, cpus int) []int {
	weights := weigh(group)
	eligible, out := 0, 0
	for i, h := range group {
		switch {
		case weights != nil && weights[i] > 0:
			eligible++
		case h == Leaving || h == Suspect:
			out++
		}
	}
	if out == 0 || eligible < cpus {
		return nil
	}
	covered := make([]int, len(group))
	next := 0
	for i := range group {
		covered[i] = -1
		if weights[i] > 0 {
			covered[i] = next % cpus
			next++
		}
	}
	return covered
}

// Percent returns the share of an index by weights, in percent.
func Percent(weights []uint32, index int) float64 {
	var sum, own float64
	for i, weight := range weights {
		sum += float64(weight)
		if i == index {
			own = float64(weight)
		}
	}
	return 100 * own / sum
}
