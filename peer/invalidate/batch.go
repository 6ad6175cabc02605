package invalidate

import (
	"maps"

	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// maxBatch bounds the invalidations that wait to be sent, and the begins and ends of updates in one message, in bytes.
const maxBatch = 256 << 10

// batch is one change of our stream: what was invalidated while the one before it was on its way.
type batch struct {
	drops   []byte // ops that can be taken together to one that drops all
	marks   []byte // begins and ends of updates
	ops     int
	all     bool // drops is that one
	alone   bool // nobody needs it
	adopted int  // how many processes it takes the open updates over of

	seq   uint64            // 0: not sent yet
	cutAt int64             // when it got it
	waits map[*member]int64 // who has to confirm it or be gone, and when the lease that it had then is over
	done  chan struct{}     // closed when nobody is in waits
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// drop adds ops. What would be too much becomes one op that drops all: nothing is lost, and memory is bounded.
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

// cut gives the batch its number, and notes for whom it waits: those whose lease runs. A lease that begins later is for
// one that has applied the batch. Rule 5 begins here.
func (b *batch) cut(seq uint64, now int64, leased map[*member]int64) {
	b.seq, b.cutAt, b.waits = seq, now, leased
	b.finish()
}

// confirm is for a proof: the member has applied the batch, or serves nothing any more.
func (b *batch) confirm(m *member) {
	if _, ok := b.waits[m]; ok {
		delete(b.waits, m)
		b.finish()
	}
}

// wait takes those out whose lease is over, and returns when the next one is, 0 if there is none. Rule 5 is here: that a
// link has ended is no reason.
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
