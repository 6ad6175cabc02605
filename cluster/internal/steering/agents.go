package steering

import (
	"fmt"
	"slices"
	"sync"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// agents are the nodes of which the master knows.
type agents struct {
	kernel  kernel.Kernel
	changed func() // is called when connections may have to be steered to others
	self    int    // id of the master's node

	mu    sync.Mutex
	byID  map[int]*agent // guarded by mu
	elder int            // guarded by mu; id of the master before, while it may be there; -1: none
}

func newAgents(kernel kernel.Kernel, changed func()) *agents {
	return &agents{kernel: kernel, changed: changed, byID: make(map[int]*agent), elder: -1}
}

// Expect makes a node known that will be linked some time.
func (a *agents) Expect(id, pid int) { a.expect(id, pid) }

func (a *agents) expect(id, pid int) *agent {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.byID[id]
	if one == nil {
		one = &agent{id: id, pid: pid}
		a.byID[id] = one
	}
	return one
}

// Linked makes a node known with which the master is linked: for the first time, or again.
func (a *agents) Linked(id, pid int, link portgroup.Agent) { a.expect(id, pid).link.Store(&link) }

// Ready notes that a node serves.
func (a *agents) Ready(id int) {
	if one, err := a.get(id); err == nil {
		one.ready.Store(true)
		a.changed()
	}
}

// Suspect notes whether a node has stopped answering.
func (a *agents) Suspect(id int, suspect bool) {
	if one, err := a.get(id); err == nil {
		one.suspect.Store(suspect)
		a.changed()
	}
}

// Gone forgets a node whose process has ended.
func (a *agents) Gone(id int) {
	a.mu.Lock()
	if one := a.byID[id]; one != nil {
		one.dead.Store(true)
	}
	delete(a.byID, id)
	a.mu.Unlock()
	a.changed()
}

// Precede sets the node that was the master before this one, and may still be running.
func (a *agents) Precede(id int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.elder = id
}

// get returns a node that is known.
func (a *agents) get(id int) (*agent, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one := a.byID[id]; one != nil {
		return one, nil
	}
	return nil, fmt.Errorf("node %d is not linked with the master", id)
}

// ofProcess returns the node that a process belongs to: the process is the node's own, or a descendant of it. The descendants of
// a master are not its own: they are the other nodes.
func (a *agents) ofProcess(pid int) *agent {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.byID {
		if one.pid != 0 && one.pid == pid {
			return one
		}
	}
	for _, one := range a.byID {
		if one.pid != 0 && one.id != a.self && one.id != a.elder && slices.Contains(a.kernel.Descendants(one.pid), pid) {
			return one
		}
	}
	return nil
}

// holders returns the nodes whose processes have a listener, and else one other process that has.
func (a *agents) holders(owners []reuseport.Owner, inode uint32) (nodes []*agent, other control.Stranger) {
	for _, o := range owners {
		if o.Inode != inode || o.PID == 0 {
			continue
		}
		if one := a.ofProcess(o.PID); one == nil {
			other = control.Stranger{PID: o.PID, Program: o.Program, Address: o.Addr.String()}
		} else if !slices.Contains(nodes, one) {
			nodes = append(nodes, one)
		}
	}
	return nodes, other
}
