package bus

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/closed"
)

const (
	// recordHead is the size, in bytes, of the length before each message in a queue.
	recordHead = 4
	// maxSpare is the largest buffer, in bytes, that a queue keeps when no message has arrived for some time.
	maxSpare = 128 << 10
)

// queue holds the messages of an inbox that are not handled yet, as records. The reader puts them in, and one worker at a
// time takes them out, a batch at a time.
type queue struct {
	// The worker's, and while there is none, of the goroutine that holds mu:
	batch []byte // records that are handled
	done  int    // bytes of batch that are handled

	mu      sync.Mutex
	waiting []byte    // guarded by mu; records
	running bool      // guarded by mu; there is a worker
	trust   int       // guarded by mu; below 0, the calls by which the handler still has to prove that it is quick
	ended   bool      // guarded by mu; no more messages arrive
	drained chan none // closed when no more messages arrive and none is left
}

func newQueue() queue { return queue{trust: -proof, drained: make(chan none)} }

// put adds records, and returns an empty buffer for the next ones. It returns whether a worker has to be started, and if
// so, whether the handler is known to be quick.
func (q *queue) put(records []byte) (spare []byte, start, trusted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 && cap(q.waiting) <= maxSpare {
		q.waiting, records = records, q.waiting
	} else {
		q.waiting = append(q.waiting, records...)
	}
	start = !q.running
	q.running = true
	return shrink(records), start, start && q.trust == 0
}

// next makes what waits the batch. It returns false when nothing waits, and the caller is no longer the worker.
func (q *queue) next() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch, q.waiting, q.done = q.waiting, q.batch[:0], 0
	if len(q.batch) > 0 {
		return true
	}
	q.running = false
	if q.ended {
		close(q.drained)
	}
	return false
}

// isBatchDone reports whether nothing is left of the batch.
func (q *queue) isBatchDone() bool { return q.done == len(q.batch) }

// pop returns the next message of the batch. There must be one.
func (q *queue) pop() []byte {
	record := q.batch[q.done:]
	size := recordHead + int(binary.BigEndian.Uint32(record))
	q.done += size
	return record[recordHead:size]
}

// rest frees large buffers if there is no worker.
func (q *queue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running {
		q.batch, q.waiting = shrink(q.batch), shrink(q.waiting)
	}
}

// end is called when no more messages arrive.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	if !q.running {
		close(q.drained)
	}
}

func (q *queue) isDrained() bool { return closed.Is(q.drained) }

// judge learns from the time that some calls took whether the handler is quick.
func (q *queue) judge(calls int, took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if took > quick*time.Duration(calls) {
		q.trust = min(q.trust, -proof)
	} else {
		q.trust = min(q.trust+calls, 0)
	}
}

// distrust is for a handler whose reader was taken over.
func (q *queue) distrust() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.trust = -lateProof
}

// shrink returns the memory of a buffer, nil if it is too large to be kept.
func shrink(b []byte) []byte {
	if cap(b) > maxSpare {
		return nil
	}
	return b[:0]
}
