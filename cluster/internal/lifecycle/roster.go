package lifecycle

import "slices"

// roster is the slots and the workers.
type roster struct {
	slots       []*slot
	generations map[int]int     // of slots that were given up, by number
	workers     map[int]*worker // by id
	starting    []*worker       // that have no id yet
}

// slotBy returns the slot of that number, which is added if there is none.
func (r *roster) slotBy(number int) *slot {
	for _, slot := range r.slots {
		if slot.number == number {
			return slot
		}
	}
	added := &slot{number: number, generation: r.generations[number]}
	r.slots = append(r.slots, added)
	slices.SortFunc(r.slots, func(a, b *slot) int { return a.number - b.number })
	return added
}

// addSlot adds the next slot, without starting a worker.
func (r *roster) addSlot() *slot {
	last := 0
	for _, slot := range r.slots {
		last = max(last, slot.number)
	}
	return r.slotBy(last + 1)
}

// dropSlot removes a slot, which is not filled again.
func (r *roster) dropSlot(dropped *slot) {
	dropped.close()
	r.generations[dropped.number] = dropped.generation
	r.slots = slices.DeleteFunc(r.slots, func(o *slot) bool { return o == dropped })
}

// workerIn returns the worker that has a role in a slot, nil if there is none.
func (r *roster) workerIn(slot *slot, as role) *worker {
	is := func(w *worker) bool { return w.slot == slot && w.role == as }
	if i := slices.IndexFunc(r.starting, is); i >= 0 {
		return r.starting[i]
	}
	for _, w := range r.workers {
		if is(w) {
			return w
		}
	}
	return nil
}

// isEmpty reports whether a slot needs a worker, and none is being started.
func (r *roster) isEmpty(slot *slot) bool {
	return !slot.closed && slot.next.IsZero() && r.workerIn(slot, current) == nil && r.workerIn(slot, replacement) == nil
}

// whoStarts returns the worker that was to be started with that slot and generation, and forgets that it was.
func (r *roster) whoStarts(info Info) *worker {
	i := slices.IndexFunc(r.starting, func(w *worker) bool { return w.Slot == info.Slot && w.Generation == info.Generation })
	if i < 0 {
		return nil
	}
	w := r.starting[i]
	r.starting = slices.Delete(r.starting, i, i+1)
	w.Info = info
	return w
}

// sorted returns the workers by id, so that the same events lead to the same actions.
func (r *roster) sorted() []*worker {
	all := make([]*worker, 0, len(r.workers))
	for _, w := range r.workers {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *worker) int { return a.ID - b.ID })
	return all
}

func (r *roster) anyEverReady() bool {
	return slices.ContainsFunc(r.slots, func(slot *slot) bool { return slot.everReady })
}

// Slots returns how many slots there are.
func (r *roster) Slots() int { return len(r.slots) }
