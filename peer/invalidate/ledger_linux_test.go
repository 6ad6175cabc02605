package invalidate

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	ledgerKeys = 128
	// The keys from here on are changed by Update only.
	updateKeys = 64
	// maxCitizens is how many processes there can be in the life of a ledger.
	maxCitizens = 1 << 14
)

// ledger is a database with its checker, in memory that all processes share. The atomic operations of the processor order
// what they do there: a reader that sees a watermark has begun its Get after the Invalidate had returned. That is what
// stamps of the clock would tell, and is good for as many reads as there is time for.
type ledger struct {
	version   [ledgerKeys]atomic.Uint64 // of the row
	watermark [ledgerKeys]atomic.Uint64 // the highest version for which Invalidate, or its like, has returned nil
	citizens  [maxCitizens]citizenCount
	stop      atomic.Uint32
}

type citizenCount struct {
	reads, stale, writes, unconfirmed atomic.Uint64
	updatedKey, updatedTo             atomic.Uint64 // what its last update has committed
	staleKey, staleGot, staleWant     atomic.Uint64 // of one of the stale reads
}

const ledgerSize = int(unsafe.Sizeof(ledger{}))

func createLedger(t *testing.T) (*ledger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, os.WriteFile(path, make([]byte, ledgerSize), 0o600))
	l, unmap, err := openLedger(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, unmap()) })
	return l, path
}

func openLedger(path string) (l *ledger, unmap func() error, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	b, err := unix.Mmap(int(file.Fd()), 0, ledgerSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return (*ledger)(unsafe.Pointer(&b[0])), func() error { return unix.Munmap(b) }, nil
}

// confirm notes that nobody may see less than a version of a key any more.
func (l *ledger) confirm(key int, version uint64) {
	for {
		old := l.watermark[key].Load()
		if old >= version || l.watermark[key].CompareAndSwap(old, version) {
			return
		}
	}
}

// check notes a read.
func (l *ledger) check(who, key int, watermark, got uint64) {
	c := &l.citizens[who]
	c.reads.Add(1)
	if got < watermark {
		c.stale.Add(1)
		c.staleKey.Store(uint64(key))
		c.staleGot.Store(got)
		c.staleWant.Store(watermark)
	}
}

// sums adds up what all have counted.
func (l *ledger) sums() (reads, stale, writes, unconfirmed uint64) {
	for i := range l.citizens {
		c := &l.citizens[i]
		reads += c.reads.Load()
		stale += c.stale.Load()
		writes += c.writes.Load()
		unconfirmed += c.unconfirmed.Load()
	}
	return reads, stale, writes, unconfirmed
}

// committed notes what an update has committed. Who reads it does so when the process is dead.
func (c *citizenCount) committed(key int, version uint64) {
	c.updatedTo.Store(0)
	c.updatedKey.Store(uint64(key))
	c.updatedTo.Store(version)
}
