package cluster

// standing is what is known of who sits at one index of a port's group.
type standing int

const (
	unproved standing = iota // it may be ours, but nobody has proved it
	stranger                 // it is not ours
	warming                  // ours, and is not ready
	trusted
	suspect // ours, and does not answer
	leaving // ours, and is to get nothing more
)

// weights decides who gets new connections. It returns nil for the kernel's hash, which is what holds when the picture
// is too poor: when nobody is eligible, or when more than half of what may be ours is unproved. Suspects get nothing,
// unless that would exclude more than half of the eligible.
func weights(seats []standing) []uint32 {
	var count [leaving + 1]int
	for _, s := range seats {
		count[s]++
	}
	eligible := count[trusted] + count[suspect]
	if eligible == 0 || count[unproved] > eligible+count[leaving]+count[warming] {
		return nil
	}
	spare := 2*count[suspect] > eligible // too many to be true
	shares := make([]uint32, len(seats))
	for i, s := range seats {
		if s == trusted || s == suspect && spare {
			shares[i] = 1
		}
	}
	return shares
}

// cover decides which CPU's connections each seat gets where only SO_INCOMING_CPU can steer: with every CPU covered by
// one of the eligible, those that are left out get nothing. -1 is no CPU. It returns nil when there are too few eligible
// seats to cover all CPUs, or nothing to leave out: then the hash decides.
func cover(seats []standing, cpus int) []int {
	shares := weights(seats)
	eligible, out := 0, 0
	for i, s := range seats {
		switch {
		case shares != nil && shares[i] > 0:
			eligible++
		case s == leaving || s == suspect:
			out++
		}
	}
	if out == 0 || eligible < cpus {
		return nil
	}
	covered := make([]int, len(seats))
	next := 0
	for i := range seats {
		covered[i] = -1
		if shares[i] > 0 {
			covered[i] = next % cpus
			next++
		}
	}
	return covered
}
