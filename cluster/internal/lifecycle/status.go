package lifecycle

import "github.com/multinode-go/multinode/cluster/control"

// Status returns all workers, and the slots that wait for one, without their load.
func (m *Machine) Status() (all []control.NodeStatus) {
	for _, w := range m.sorted() {
		all = append(all, control.NodeStatus{
			ID: w.ID, Slot: w.Slot, Generation: w.Generation, PID: w.PID, State: w.shown(), Since: w.since,
			Restarts: w.slot.restarts, LastExit: w.slot.lastExit, Accepts: w.wasReady() && !w.drained,
		})
	}
	for _, slot := range m.slots {
		if slot.next.IsZero() || m.workerIn(slot, current) != nil {
			continue
		}
		state := control.StateWaiting
		if slot.looping {
			state = control.StateLooping
		}
		all = append(all, control.NodeStatus{
			ID: -1, Slot: slot.number, Generation: slot.generation, State: state, Since: slot.diedAt,
			Restarts: slot.restarts, LastExit: slot.lastExit,
		})
	}
	return all
}

// Doing returns the operation that Status shows, "" for none.
func (m *Machine) Doing() string {
	switch {
	case m.stopping || m.ending:
		return "stop"
	case m.plan != nil:
		return m.plan.Name
	default:
		return m.held
	}
}

// IsBooting reports whether a worker is not ready yet.
func (m *Machine) IsBooting(id int) bool {
	w := m.workers[id]
	return w != nil && !w.wasReady() && !w.asked && w.role != retiring
}

// Greeted reports whether the listeners of all adopted workers are known.
func (m *Machine) Greeted() bool {
	for _, w := range m.workers {
		if w.adopted && !w.greeted {
			return false
		}
	}
	return true
}
