package portgroup

// exclusions are the weights by which new connections are steered, and the events that have broken them or moved members.
type exclusions struct {
	weights []uint32 // by index; nil: the kernel's hash decides
	epoch   int
	shifts  int
}

// Steered takes note by which weights new connections are steered now, nil for the kernel's hash. That sends some to
// excluded members, too.
func (e *exclusions) Steered(weights []uint32) { e.weights = weights }

// Steering returns the weights by which new connections are steered, by index; nil while the hash decides.
func (e *exclusions) Steering() []uint32 { return e.weights }

// gets reports whether an index gets new connections. -1 is an unknown index, which may get some.
func (e *exclusions) gets(index int) bool {
	return e.weights == nil || index < 0 || index < len(e.weights) && e.weights[index] > 0
}

// Epoch is the number of the period in which no exclusion was broken: a member that was excluded when the epoch began has got no
// connections since. It counts from 1.
func (e *exclusions) Epoch() int { return e.epoch }

// Leak notes that an excluded member may have got connections.
func (e *exclusions) Leak() { e.epoch++ }

// Shifts counts events that may have moved members to other indexes: an answer to a probe that was sent before is void.
func (e *exclusions) Shifts() int { return e.shifts }

// Late notes that answers to probes are void, and that an excluded member may have got connections, as when a node may yet
// attach a program of ours that is old by now.
func (e *exclusions) Late() {
	e.epoch++
	e.shifts++
}
