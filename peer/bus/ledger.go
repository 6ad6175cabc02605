package bus

import "sync/atomic"

// ledger counts bytes and messages in one word, so that a message costs one atomic operation. The lower bits hold the bytes
// on their way, with room for far more than a window. The count of messages wraps at ledgerMessages.
type ledger struct{ word atomic.Uint64 }

const (
	ledgerBits     = 40
	ledgerBytes    = 1 << ledgerBits
	ledgerMessages = 1 << (64 - ledgerBits)
	// ledgerClosed is a number of bytes that fills any window.
	ledgerClosed = ledgerBytes / 2
)

// begin counts a message, if less than window is counted.
func (l *ledger) begin(size, window uint64) bool {
	for {
		word := l.word.Load()
		if word%ledgerBytes >= window {
			return false
		}
		if l.word.CompareAndSwap(word, word+size+ledgerBytes) {
			return true
		}
	}
}

// cancel undoes begin.
func (l *ledger) cancel(size uint64) { l.word.Add(-(size + ledgerBytes)) }

// free subtracts bytes, but not their message.
func (l *ledger) free(size uint64) { l.word.Add(-size) }

// close makes begin fail, whatever the window.
func (l *ledger) close() { l.word.Add(ledgerClosed) }

// add counts a message, and returns what is counted by now.
func (l *ledger) add(size uint64) (bytes, messages uint64) {
	return split(l.word.Add(size + ledgerBytes))
}

// take resets the ledger, and returns its counts.
func (l *ledger) take() (bytes, messages uint64) { return split(l.word.Swap(0)) }

func (l *ledger) load() (bytes, messages uint64) { return split(l.word.Load()) }

func split(word uint64) (bytes, messages uint64) { return word % ledgerBytes, word / ledgerBytes }
