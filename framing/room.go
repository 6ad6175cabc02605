package framing

import (
	"context"
	"slices"
)

// maxAdmitted is how many waiting senders are woken at a time. With small messages all would find room, but the first to
// run fills the queue by itself, and hundreds that contend for the lock meanwhile slow each other down.
const maxAdmitted = 16

// room holds the senders that wait for room in the queue of an outbox: first come, first served, except for senders whose
// limit does not admit them yet. The outbox's lock guards it.
//
// No sender is forgotten: it waits only while the queue holds frames or admitted senders have not added theirs. Either means
// that the queue becomes a batch later, and then the next senders are admitted, at least one.
type room struct {
	waiting  []*waiter
	admitted int       // how many were woken and have not yet added their frame
	reserved int       // bytes in the frames of these
	unused   []*waiter // to be used again, as many as have waited at the same time
}

// waiter is a put that waits.
type waiter struct {
	limit    int           // bytes, see Bound
	size     int           // of its frame, in bytes
	admitted bool          // its frame may be added
	ready    chan struct{} // holds a token when admitted
}

func (r *room) enter(limit, size int) *waiter {
	w := &waiter{ready: make(chan struct{}, 1)}
	if last := len(r.unused) - 1; last >= 0 {
		w, r.unused = r.unused[last], r.unused[:last]
	}
	w.limit, w.size = limit, size
	r.waiting = append(r.waiting, w)
	return w
}

// leave ends the wait of w, and reports whether it was admitted.
func (r *room) leave(w *waiter) bool {
	admitted := w.admitted
	if admitted {
		r.admitted--
		r.reserved -= w.size
		select {
		case <-w.ready:
		default:
		}
	} else if i := slices.Index(r.waiting, w); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
	w.admitted = false
	r.unused = append(r.unused, w)
	return admitted
}

// admit wakes the next senders, when the queue has become empty.
func (r *room) admit() {
	if len(r.waiting) == 0 {
		return
	}
	kept := r.waiting[:0]
	for i, w := range r.waiting {
		if r.admitted == maxAdmitted {
			kept = append(kept, r.waiting[i:]...)
			break
		}
		if r.reserved >= w.limit {
			kept = append(kept, w)
			continue
		}
		w.admitted = true
		r.admitted++
		r.reserved += w.size
		w.ready <- struct{}{}
	}
	clear(r.waiting[len(kept):])
	r.waiting = kept
}

// waitLocked waits until the frame of a put may be added, or the outbox has ended. It releases mu meanwhile.
func (o *outbox) waitLocked(ctx context.Context, limit, size int) error {
	w := o.room.enter(limit, size)
	o.mu.Unlock()
	select {
	case <-w.ready:
	case <-o.failed:
	case <-ctx.Done():
	}
	o.mu.Lock()
	if admitted := o.room.leave(w); !admitted && o.err == nil {
		return ctx.Err()
	}
	return nil
}
