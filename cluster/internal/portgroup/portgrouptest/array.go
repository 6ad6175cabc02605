// Package portgrouptest is a model of the kernel's array of a port's group, for tests.
package portgrouptest

import (
	"math/rand/v2"

	"github.com/multinode-go/multinode/reuseport"
)

// Array is the kernel's group of listeners: an array of their inodes, and the program that chooses among them. It is not for
// several goroutines at the same time.
type Array struct {
	order   reuseport.Order[uint32]
	program reuseport.Steering
	reached map[uint32]bool
}

// New returns an empty group.
func New() *Array { return &Array{reached: make(map[uint32]bool)} }

// Listen appends a listener.
func (a *Array) Listen(inode uint32) {
	a.order.Join(inode)
	a.deliver()
}

// Close takes a listener out. The last one moves to its index. The program ends with the last listener.
func (a *Array) Close(inode uint32) {
	a.order.Leave(inode)
	if a.order.Len() == 0 {
		a.program = reuseport.Steering{}
	}
	a.deliver()
}

// Attach replaces the program.
func (a *Array) Attach(s reuseport.Steering) {
	a.program = s
	a.deliver()
}

// Inodes returns the listeners by index.
func (a *Array) Inodes() []uint32 { return a.order.Members() }

// Index returns the index of a listener, -1 if it is closed.
func (a *Array) Index(inode uint32) int { return a.order.Index(inode) }

// Choose returns the listener of a new connection from a source port. It returns false if there is no listener.
func (a *Array) Choose(random *rand.Rand, port uint16) (inode uint32, ok bool) {
	inodes := a.Inodes()
	if len(inodes) == 0 {
		return 0, false
	}
	index := a.choice(random)
	if mark := a.program.Mark; mark != nil && mark.Port == port {
		index = mark.Index
	}
	if index < 0 || index >= len(inodes) {
		index = random.IntN(len(inodes)) // the hash
	}
	return inodes[index], true
}

// choice returns the index that the weights choose, -1 for the hash.
func (a *Array) choice(random *rand.Rand) int {
	sum := uint32(0)
	for _, weight := range a.program.Weights {
		sum += weight
	}
	if sum == 0 {
		return -1
	}
	point := random.Uint32N(sum)
	for i, weight := range a.program.Weights {
		if point < weight {
			return i
		}
		point -= weight
	}
	return -1
}

// Drained notes that no connection waits at a listener.
func (a *Array) Drained(inode uint32) {
	delete(a.reached, inode)
	a.deliver()
}

// Reached reports whether a connection may have reached a listener since [Array.Drained].
func (a *Array) Reached(inode uint32) bool { return a.reached[inode] }

// deliver notes the listeners that may get connections now: after each change.
func (a *Array) deliver() {
	sum, beyond := uint32(0), uint32(0)
	for i, weight := range a.program.Weights {
		sum += weight
		if i >= a.order.Len() {
			beyond += weight
		}
	}
	for i, inode := range a.Inodes() {
		if sum == 0 || beyond > 0 || i < len(a.program.Weights) && a.program.Weights[i] > 0 {
			a.reached[inode] = true
		}
	}
}
