package invalidate

import (
	"fmt"
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
	maxCitizens = 1 << 16
)

// ledger is a database with its checker, in memory that all processes share. The atomic operations of the processor order
// what they do there: a reader that sees a watermark has begun its Get after the Invalidate had returned. That is what
// stamps of the clock would tell, and is good for as many reads as there is time for.
type ledger struct {
	version   [ledgerKeys]atomic.Uint64 // of the row
	watermark [ledgerKeys]atomic.Uint64 // the highest version for which Invalidate, or its like, has returned nil
	citizens  [maxCitizens]citizenCount
	entered   atomic.Int64 // the citizens whose place is from enter
	stop      atomic.Uint32
}

type citizenCount struct {
	pid                               atomic.Int64 // as enter has noted it
	reads, stale, writes, unconfirmed atomic.Uint64
	updatedKey, updatedTo             atomic.Uint64 // what its last update has committed
	staleKey, staleGot, staleWant     atomic.Uint64 // of one of the stale reads
}

const ledgerSize = int(unsafe.Sizeof(ledger{}))

func createLedger(t *testing.T) (*ledger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, int64(ledgerSize)))
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

// enter returns the place of a process that nobody has given one.
func (l *ledger) enter() (who int, err error) {
	who = int(l.entered.Add(1))
	if who >= maxCitizens {
		return 0, fmt.Errorf("citizen %d: the ledger has room for %d", who, maxCitizens)
	}
	l.citizens[who].pid.Store(int64(os.Getpid()))
	return who, nil
}

// of returns the counts of a process that has entered: the last one, if there were several of that pid.
func (l *ledger) of(pid int) *citizenCount {
	for who := min(l.entered.Load(), maxCitizens-1); who > 0; who-- {
		if c := &l.citizens[who]; c.pid.Load() == int64(pid) {
			return c
		}
	}
	return new(citizenCount) // it has done nothing yet
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

// confirmLast is for a process that is dead and that nobody waits for any more: it may have died in an update, after the commit.
func (l *ledger) confirmLast(dead *citizenCount) {
	l.confirm(int(dead.updatedKey.Load()), dead.updatedTo.Load())
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

// report logs what all have counted.
func (l *ledger) report(t *testing.T, processes int, faults map[string]int) {
	t.Helper()
	reads, stale, writes, unconfirmed := l.sums()
	t.Logf("%d reads, %d stale, %d writes, %d of them not confirmed, %d processes, faults %v",
		reads, stale, writes, unconfirmed, processes, faults)
	for i := range l.citizens {
		if c := &l.citizens[i]; c.stale.Load() > 0 {
			t.Logf("node %d: %d stale, one of key %d: got %d, want %d or more", i, c.stale.Load(), c.staleKey.Load(),
				c.staleGot.Load(), c.staleWant.Load())
		}
	}
}

// committed notes what an update has committed. Who reads it does so when the process is dead.
func (c *citizenCount) committed(key int, version uint64) {
	c.updatedTo.Store(0)
	c.updatedKey.Store(uint64(key))
	c.updatedTo.Store(version)
}
