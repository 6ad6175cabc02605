package invalidate

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// A board is an array of numbers of 64 bits. What stands alone in its cache line is written by one kind of change only.
const (
	boardLayout = 2 // the version of what follows, also in memoryPrefix
	boardMagic  = 0x6d756c74696e6400 | boardLayout
	wordMagic   = 0
	wordClasses = 1
	wordBase    = 2
	wordAll     = 8                      // counts what was dropped with all
	wordTagged  = 16                     // counts what was dropped by a tag
	wordRows    = 24                     // the incarnation of the process that has the row
	wordTurns   = wordRows + boardRows   // for each row, how often it was cleared
	wordMarks   = wordTurns + boardRows  // for each group of classes, a bit for each row
	wordVersion = wordMarks + groupWords // for each class, how often something of it was dropped

	wordSize  = 8
	wordBits  = 64
	boardRows = 512
	markWords = boardRows / wordBits
	groups    = 1024
	// groupWords are the words of all marks.
	groupWords = groups * markWords

	// classesEach is how many classes there are for each value that is stored at most: so an invalidation takes a quarter of a
	// value of somebody else along.
	classesEach = 4
	minClasses  = 1 << 16
	maxClasses  = 1 << 22
)

// board says what is void: it has a version for each class of keys, and for each class of tags, and a change raises that.
// What was loaded under another version than the present one is not served. Which keys are in one class is chance.
//
// Processes of a machine can share a board. What one of them changes is then changed for all at once, whatever they are
// doing: none needs to hear of it, nor to confirm it.
type board struct {
	words   []atomic.Uint64
	classes uint64
	base    uint64        // where all counters began; see isSound
	row     int           // of this process
	seat    *seat         // nil: the board is not shared
	commit  time.Duration // how long marks stay that the process of their row has left

	mu     sync.Mutex
	marked map[uint64]int // guarded by mu; how often this process has marked each group; nil after close
	ends   map[int]end    // guarded by mu; of the rows whose process has ended, as far as it was seen here
}

// end says how long the marks of a row stay whose process has ended in an update. What that has sent may still be committed.
type end struct {
	turn  uint64 // of the row; in another one it belongs to another process
	until int64  // by the clock of this process: others may have seen the end earlier or later
}

// place is a class, and its version at a time.
type place struct{ class, version uint64 }

// newBoard returns one for this process alone.
func newBoard(entries int) *board {
	classes := classesFor(entries)
	return boardOf(make([]atomic.Uint64, wordVersion+classes), classes, 0)
}

func boardOf(words []atomic.Uint64, classes, base uint64) *board {
	return &board{words: words, classes: classes, base: base, marked: make(map[uint64]int), ends: make(map[int]end)}
}

// classesFor returns how many classes a board has, a power of two.
func classesFor(entries int) uint64 {
	want := uint64(min(entries, maxClasses/classesEach) * classesEach)
	return max(minClasses, uint64(1)<<bits.Len64(want-1))
}

// class returns the class of a hash.
func (b *board) class(hash uint64) uint64 { return hash & (b.classes - 1) }

// load reads a word. The board is used until then: its memory goes with it.
func (b *board) load(word uint64) uint64 {
	n := b.words[word].Load()
	runtime.KeepAlive(b)
	return n
}

func (b *board) add(word uint64) {
	b.words[word].Add(1)
	runtime.KeepAlive(b)
}

func (b *board) place(class uint64) place { return place{class, b.load(wordVersion + class)} }

// holds reports whether nothing of a class was dropped since.
func (b *board) holds(p place) bool { return b.load(wordVersion+p.class) == p.version }

func (b *board) drop(class uint64) { b.add(wordVersion + class) }

func (b *board) all() uint64 { return b.load(wordAll) }
func (b *board) dropAll()    { b.add(wordAll) }

func (b *board) tagged() uint64 { return b.load(wordTagged) }

// dropTag counts first: a load whose tags are looked at afterwards has seen one of the two.
func (b *board) dropTag(class uint64) {
	b.add(wordTagged)
	b.drop(class)
}

// isSound reports whether counters are those of the board. Those of a shared board begin at a large random number, so that it is
// noticed when another program has written zeros to the memory: a counter that began again at zero would come to a value that it
// had before.
func (b *board) isSound(counters ...uint64) bool {
	for _, n := range counters {
		if n < b.base {
			return false
		}
	}
	return true
}

// mark is for an update that begins: what is loaded from now on is not stored. The class is dropped afterwards, so who has
// seen the version after that also sees the mark.
func (b *board) mark(class uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.marked == nil { // closed
		return
	}
	group := class % groups
	if b.marked[group]++; b.marked[group] == 1 {
		word, bit := markOf(group, b.row)
		b.words[word].Or(bit)
		runtime.KeepAlive(b)
	}
}

// unmark is for an update that has ended. Another one of the group may still be open.
func (b *board) unmark(class uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	group := class % groups
	if b.marked[group] == 0 { // closed
		return
	}
	if b.marked[group]--; b.marked[group] == 0 {
		delete(b.marked, group)
		word, bit := markOf(group, b.row)
		b.words[word].And(^bit)
		runtime.KeepAlive(b)
	}
}

// markOf returns where a row marks a group.
func markOf(group uint64, row int) (word, bit uint64) {
	return wordMarks + group*markWords + uint64(row/wordBits), 1 << (row % wordBits)
}

// isFree reports whether no update of a class is open. A process that has ended in one has left its mark.
func (b *board) isFree(class uint64) bool {
	for i := range markWords {
		word := wordMarks + class%groups*markWords + uint64(i)
		for set := b.load(word); set != 0; set &= set - 1 {
			row := i*wordBits + bits.TrailingZeros64(set)
			if row == b.row || !b.isOver(row) {
				return false
			}
		}
	}
	return true
}

// clear takes all marks of a row away.
func (b *board) clear(row int) {
	for group := range uint64(groups) {
		word, bit := markOf(group, row)
		b.words[word].And(^bit)
	}
	b.words[wordRows+row].Store(0)
	b.add(wordTurns + uint64(row))
}

// has reports whether a process, which lives, has this very board: its row says so, and the kernel that somebody lives who
// has the row. It is final from before the process says anything of the cache to anybody.
func (b *board) has(p rendezvous.Incarnation) bool {
	if b.seat == nil {
		return false
	}
	for row := range boardRows {
		if b.load(uint64(wordRows+row)) == uint64(p) && b.seat.isTaken(row) {
			return true
		}
	}
	return false
}

// isOver clears a row if its process has ended and nothing that it has sent can be committed any more.
func (b *board) isOver(row int) bool {
	return b.seat != nil && !b.seat.isTaken(row) && b.isSettled(row) && b.seat.sweep(b, row)
}

// isSettled reports whether the process of a row ended so long ago that what it has sent is committed or never will be. The
// time begins when it is asked for the first time: the process has sent nothing later. Rule 10 is here.
func (b *board) isSettled(row int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, isSeen := b.ends[row]
	if turn := b.load(wordTurns + uint64(row)); !isSeen || e.turn != turn {
		e = end{turn: turn, until: now() + int64(b.commit)}
		b.ends[row] = e
	}
	return now() >= e.until
}

// observe looks for rows whose process has ended, so that the time of their marks begins, and clears those that are over.
func (b *board) observe() {
	for row := range boardRows {
		if row != b.row && b.load(uint64(wordRows+row)) != 0 {
			b.isOver(row)
		}
	}
}

// settles returns how long the marks stay of processes that have ended in an update.
func (b *board) settles() time.Duration {
	b.observe()
	b.mu.Lock()
	defer b.mu.Unlock()
	var longest time.Duration
	for row, e := range b.ends {
		if e.turn == b.load(wordTurns+uint64(row)) && b.isMarked(row) {
			longest = max(longest, time.Duration(e.until-now()))
		}
	}
	return longest
}

// isMarked reports whether a row has marks.
func (b *board) isMarked(row int) bool {
	for group := range uint64(groups) {
		if word, bit := markOf(group, row); b.load(word)&bit != 0 {
			return true
		}
	}
	return false
}

// close gives the row back. Its marks stay when updates are open: for the others it is the row of a process that has ended.
// The rest of the board can be used all the same. It may be called again.
func (b *board) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.marked == nil {
		return nil
	}
	open := len(b.marked) > 0
	b.marked = nil
	if b.seat == nil {
		return nil
	}
	if !open {
		b.clear(b.row)
	}
	return b.seat.close()
}
