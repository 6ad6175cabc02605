package sim

import "slices"

// controller renews the weights. At each look it sees how many connections each worker has open at that moment and how
// many have been opened since the last look, and nothing else, and until the next look it does not see more.
//
// It expects that as many will be opened until the next look as since the last one, and gives each worker the share of
// them that levels all out, as water that is poured onto uneven ground: those above the level get nothing, the others
// what they are below it. Where it looks often that is nearly the shortest queue, where it looks seldom nearly the hash,
// and never a stampede to the one that was the emptiest a while ago. It is the "basic load interpretation" of Dahlin,
// Interpreting Stale Load Information, IEEE Transactions on Parallel and Distributed Systems 11 (2000).
type controller struct {
	site   *site
	opened int // since the last look
	shares shares
}

func (c *controller) choose() int {
	c.opened++
	if c.shares == nil {
		return c.site.hash() // it has not looked yet
	}
	return c.shares.draw(c.site.choices)
}

func (c *controller) look() {
	c.shares = newShares(fill(c.site.open, max(1, c.opened)))
	c.opened = 0
}

// fill returns how much each must get of what is poured, so that all that get something end at the same level.
func fill(ground []int, poured int) []float64 {
	sorted := slices.Sorted(slices.Values(ground))
	level, sum := 0.0, float64(poured)
	for i, height := range sorted {
		if i > 0 && float64(height) >= level {
			break
		}
		sum += float64(height)
		level = sum / float64(i+1)
	}
	portions := make([]float64, len(ground))
	for i, height := range ground {
		portions[i] = max(0, level-float64(height))
	}
	return portions
}
