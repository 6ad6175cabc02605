package versioned

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// A table is an array of 64-bit words. A word with a cache line of its own is written by one kind of change only.
const (
	tableLayout = 2 // version of this layout, also in the name of the memory
	tableMagic  = 0x6d756c74696e6400 | tableLayout
	wordMagic   = 0
	wordClasses = 1
	wordBase    = 2
	wordAll     = 8                      // counts the drops of all
	wordTagged  = 16                     // counts the drops of tags
	wordSlots   = 24                     // for each slot, the incarnation of its process
	wordTurns   = wordSlots + maxSlots   // for each slot, how often it was cleared
	wordMarks   = wordTurns + maxSlots   // for each group of classes, a bit for each slot
	wordVersion = wordMarks + groupWords // for each class, the number of its drops

	wordSize  = 8
	wordBits  = 64
	maxSlots  = 512
	markWords = maxSlots / wordBits
	groups    = 1024
	// groupWords are the words of all marks.
	groupWords = groups * markWords

	// classesEach is the number of classes for each value of a full cache: so an invalidation also drops a quarter of another
	// value, on average.
	classesEach = 4
	minClasses  = 1 << 16
	maxClasses  = 1 << 22
)

// Table has a version for each class of keys and of tags, and a change raises the version. A value that was loaded under another
// version than the present one is void. A hash decides which keys are in one class.
//
// Processes of a machine can share a table. Then all of them see a change at once, without a message or a confirmation.
type Table struct {
	words   []atomic.Uint64
	classes uint64
	base    uint64        // where all counters began; see isSound
	slot    int           // of this process
	locks   *slotLocks    // nil: the table is not shared
	commit  time.Duration // how long the marks of an ended process stay

	mu     sync.Mutex
	marked map[uint64]int // guarded by mu; how often this process has marked each group; nil after close
	ends   map[int]end    // guarded by mu; of the slots whose process has ended, as far as this process has seen it
}

// end is the end of the process of a slot. Its marks stay for a time, since the writes that it has sent may still be committed.
type end struct {
	turn  uint64 // of the slot; in another one it belongs to another process
	until int64  // end of the marks, by the clock of this process: others may have seen the end of the process at another time
}

// place is a class, and its version at a time.
type place struct{ class, version uint64 }

// NewTable returns a table for this process alone, for a cache of that many values.
func NewTable(entries int) *Table {
	classes := classesFor(entries)
	return tableOf(make([]atomic.Uint64, wordVersion+classes), classes, 0)
}

func tableOf(words []atomic.Uint64, classes, base uint64) *Table {
	return &Table{words: words, classes: classes, base: base, marked: make(map[uint64]int), ends: make(map[int]end)}
}

// classesFor returns how many classes a table has, a power of two.
func classesFor(entries int) uint64 {
	want := uint64(min(entries, maxClasses/classesEach) * classesEach)
	return max(minClasses, uint64(1)<<bits.Len64(want-1))
}

// class returns the class of a hash.
func (t *Table) class(hash uint64) uint64 { return hash & (t.classes - 1) }

// load reads a word. It keeps the table alive until then: the memory is unmapped with the table.
func (t *Table) load(word uint64) uint64 {
	n := t.words[word].Load()
	runtime.KeepAlive(t)
	return n
}

func (t *Table) add(word uint64) {
	t.words[word].Add(1)
	runtime.KeepAlive(t)
}

func (t *Table) place(class uint64) place { return place{class, t.load(wordVersion + class)} }

// holds reports whether nothing of the class was dropped since.
func (t *Table) holds(p place) bool { return t.load(wordVersion+p.class) == p.version }

func (t *Table) drop(class uint64) { t.add(wordVersion + class) }

func (t *Table) all() uint64 { return t.load(wordAll) }
func (t *Table) dropAll()    { t.add(wordAll) }

func (t *Table) tagged() uint64 { return t.load(wordTagged) }

// dropTag counts first: a load whose tags are looked up afterwards sees one of the two.
func (t *Table) dropTag(class uint64) {
	t.add(wordTagged)
	t.drop(class)
}

// isSound reports whether counters can be those of the table. The counters of a shared table begin at a large random number, which
// shows when another program has written zeros to the memory: a counter that begins again at zero would repeat earlier values.
func (t *Table) isSound(counters ...uint64) bool {
	for _, n := range counters {
		if n < t.base {
			return false
		}
	}
	return true
}

// mark begins an update of a class: from now on its loaded values are not stored. The caller drops the class afterwards, so a
// process that sees the new version also sees the mark.
func (t *Table) mark(class uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.marked == nil { // closed
		return
	}
	group := class % groups
	if t.marked[group]++; t.marked[group] == 1 {
		word, bit := markOf(group, t.slot)
		t.words[word].Or(bit)
		runtime.KeepAlive(t)
	}
}

// unmark ends an update of a class. Another one of its group may still be open.
func (t *Table) unmark(class uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	group := class % groups
	if t.marked[group] == 0 { // closed
		return
	}
	if t.marked[group]--; t.marked[group] == 0 {
		delete(t.marked, group)
		word, bit := markOf(group, t.slot)
		t.words[word].And(^bit)
		runtime.KeepAlive(t)
	}
}

// markOf returns the word and the bit of a slot's mark of a group.
func markOf(group uint64, slot int) (word, bit uint64) {
	return wordMarks + group*markWords + uint64(slot/wordBits), 1 << (slot % wordBits)
}

// isFree reports whether no update of a class is open. A process that has ended in one has left its mark.
func (t *Table) isFree(class uint64) bool {
	for i := range markWords {
		word := wordMarks + class%groups*markWords + uint64(i)
		for set := t.load(word); set != 0; set &= set - 1 {
			slot := i*wordBits + bits.TrailingZeros64(set)
			if slot == t.slot || !t.isOver(slot) {
				return false
			}
		}
	}
	return true
}

// clear removes all marks of a slot, and its process.
func (t *Table) clear(slot int) {
	for group := range uint64(groups) {
		word, bit := markOf(group, slot)
		t.words[word].And(^bit)
	}
	t.words[wordSlots+slot].Store(0)
	t.add(wordTurns + uint64(slot))
}

// Has reports whether a live process maps this very table: a slot names it, and the kernel shows that the lock of the slot is
// held. The answer is final before the process sends any message of the cache.
func (t *Table) Has(p rendezvous.Incarnation) bool {
	if t.locks == nil {
		return false
	}
	for slot := range maxSlots {
		if t.load(uint64(wordSlots+slot)) == uint64(p) && t.locks.isTaken(slot) {
			return true
		}
	}
	return false
}

// isOver clears a slot if its process has ended and its writes cannot be committed any more. It reports whether it did.
func (t *Table) isOver(slot int) bool {
	return t.locks != nil && !t.locks.isTaken(slot) && t.isSettled(slot) && t.sweep(slot)
}

// sweep clears a slot if its process has ended and nothing of it is open.
func (t *Table) sweep(slot int) bool {
	free, err := t.locks.lock(slot)
	if !free || err != nil {
		return false
	}
	defer t.locks.unlock(slot) // after a close meanwhile, the lock is released already
	if !t.isSettled(slot) {    // it was taken by another process meanwhile, which has ended, too
		return false
	}
	t.clear(slot)
	return true
}

// isSettled reports whether the process of a slot ended so long ago that its writes are committed or never will be. The time
// begins with the first call after the end: the process has sent nothing later. Rule 10 is here.
func (t *Table) isSettled(slot int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, isSeen := t.ends[slot]
	if turn := t.load(wordTurns + uint64(slot)); !isSeen || e.turn != turn {
		e = end{turn: turn, until: clock.Now() + int64(t.commit)}
		t.ends[slot] = e
	}
	return clock.Now() >= e.until
}

// Observe looks for slots whose process has ended, so that the time of their marks begins, and clears them when it is over.
func (t *Table) Observe() {
	for slot := range maxSlots {
		if slot != t.slot && t.load(uint64(wordSlots+slot)) != 0 {
			t.isOver(slot)
		}
	}
}

// settles returns how long the marks of processes that have ended in an update stay.
func (t *Table) settles() time.Duration {
	t.Observe()
	t.mu.Lock()
	defer t.mu.Unlock()
	var longest time.Duration
	for slot, e := range t.ends {
		if e.turn == t.load(wordTurns+uint64(slot)) && t.isMarked(slot) {
			longest = max(longest, time.Duration(e.until-clock.Now()))
		}
	}
	return longest
}

// isMarked reports whether a slot has marks.
func (t *Table) isMarked(slot int) bool {
	for group := range uint64(groups) {
		if word, bit := markOf(group, slot); t.load(word)&bit != 0 {
			return true
		}
	}
	return false
}

// Close frees the slot. Its marks stay when updates are open: for the others it is the slot of a process that has ended. The
// versions of the table can be used after Close. It may be called again.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.marked == nil {
		return nil
	}
	open := len(t.marked) > 0
	t.marked = nil
	if t.locks == nil {
		return nil
	}
	if !open {
		t.clear(t.slot)
	}
	return t.locks.close()
}
