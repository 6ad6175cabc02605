package invalidate

import (
	"maps"

	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// maxBatch bounds the invalidations that wait to be sent, and the begins and ends of updates in one message, in bytes.
const maxBatch = 256 << 10

// batch is one change of our stream: the invalidations that came while the batch before it was in flight.
type batch struct {
	drops   []byte // ops that can be merged into one that drops all
	marks   []byte // begins and ends of updates
	ops     int
	all     bool // drops is that op
	alone   bool // there are no members to send it to
	adopted int  // how many dead processes have their open updates in it

	seq   uint64            // 0: not sent yet
	cutAt int64             // when it was numbered
	waits map[*member]int64 // the members that have not confirmed it, and the end of the lease that each had when it was numbered
	done  chan struct{}     // closed when waits is empty
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// drop adds ops. Too many ops become one that drops all: nothing is lost, and memory is bounded.
func (b *batch) drop(ops []byte, count int) {
	b.ops += count
	switch {
	case b.all:
	case len(b.drops)+len(ops) > maxBatch:
		b.drops, b.all = wire.AppendOp(nil, wire.OpAll, nil), true
	default:
		b.drops = append(b.drops, ops...)
	}
}

func (b *batch) message(session uint64) wire.Message {
	return wire.Message{Kind: wire.Change, Session: session, Seq: b.seq, Ops: append(b.drops, b.marks...)}
}

// cut numbers the batch, and notes the members that it waits for: those whose lease runs. A lease that begins later is granted
// only to a member that has applied the batch. Rule 5 begins here.
func (b *batch) cut(seq uint64, now int64, leased map[*member]int64) {
	b.seq, b.cutAt, b.waits = seq, now, leased
	b.finish()
}

// confirm ends the wait for a member that has applied the batch, or serves nothing any more.
func (b *batch) confirm(m *member) {
	if _, ok := b.waits[m]; ok {
		delete(b.waits, m)
		b.finish()
	}
}

// wait removes the members whose lease is over, and returns the end of the next lease, 0 if there is none. Rule 5 is here: the
// end of a link is no reason.
func (b *batch) wait(now int64) (next int64) {
	for m, until := range maps.Clone(b.waits) {
		if until <= now {
			b.confirm(m)
		} else if next == 0 || until < next {
			next = until
		}
	}
	return next
}

func (b *batch) finish() {
	if len(b.waits) == 0 && !b.isDone() {
		close(b.done)
	}
}

func (b *batch) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}
