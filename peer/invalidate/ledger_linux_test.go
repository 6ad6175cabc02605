package invalidate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
	// maxPopulation is how many processes write at a time, at most.
	maxPopulation = 64
)

// ledger is a database with its checker, in memory that all processes share. The atomic operations of the processor order
// their accesses: a reader that sees a watermark has begun its Get after the Invalidate had returned. That shows the same as
// time stamps would, for any number of reads.
type ledger struct {
	version   [ledgerKeys]atomic.Uint64 // of the row
	watermark [ledgerKeys]atomic.Uint64 // the highest version for which Invalidate, or its like, has returned nil
	citizens  [maxCitizens]citizenCount
	entered   atomic.Int64 // the citizens whose place is from enter
	sends     atomic.Uint64
	writes    [maxWrites]sentWrite // the last ones that were sent
	stop      atomic.Uint32
}

type citizenCount struct {
	pid                               atomic.Int64 // as enter has noted it
	reads, stale, writes, unconfirmed atomic.Uint64
	staleKey, staleGot, staleWant     atomic.Uint64 // of one of the stale reads
}

// sentWrite is a write to the rows of Update, which goes to the server of the ledger: the process of the test. The server
// commits it some time later, whatever has become of the process that has sent it.
type sentWrite struct {
	number  atomic.Uint64 // of the write that has this place, from 1
	key     atomic.Uint64
	sent    atomic.Int64  // by the clock of the machine
	version atomic.Uint64 // that it has made; 0: not committed yet
}

const (
	maxWrites = 1 << 12
	// stormCommit is Options.CommitTimeout of the processes. The server commits nothing that was sent earlier than its statement
	// timeout ago; the difference is for a server that is not given a CPU between the two.
	stormCommit      = 3 * time.Second
	statementTimeout = time.Second
	refused          = 1 << 63 // in place of a version
)

const ledgerSize = int(unsafe.Sizeof(ledger{}))

func createLedger(t *testing.T) (*ledger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, int64(ledgerSize)))
	l, unmap, err := openLedger(path)
	require.NoError(t, err)
	var server sync.WaitGroup
	server.Go(l.serve) // ended by stop
	t.Cleanup(func() {
		l.stop.Store(1)
		server.Wait()
		assert.NoError(t, unmap())
	})
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

// enter returns a new place for a process.
func (l *ledger) enter() (who int, err error) {
	who = int(l.entered.Add(1))
	if who >= maxCitizens {
		return 0, fmt.Errorf("citizen %d: the ledger has room for %d", who, maxCitizens)
	}
	l.citizens[who].pid.Store(int64(os.Getpid()))
	return who, nil
}

// confirm notes that no process may see less than a version of a key any more.
func (l *ledger) confirm(key int, version uint64) {
	for {
		old := l.watermark[key].Load()
		if old >= version || l.watermark[key].CompareAndSwap(old, version) {
			return
		}
	}
}

// send sends a write to the server, and waits until that has committed it.
func (l *ledger) send(ctx context.Context, key int) (version uint64, err error) {
	at := machineTime()
	number := l.sends.Add(1)
	w := &l.writes[number%maxWrites]
	w.key.Store(uint64(key))
	w.sent.Store(at)
	w.version.Store(0)
	w.number.Store(number)
	for version == 0 {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Microsecond):
		}
		if version = w.version.Load(); w.number.Load() != number { // this process was stopped for long
			return 0, errNoAnswer
		}
	}
	if version == refused {
		return 0, ErrNotCommitted
	}
	return version, nil
}

var errNoAnswer = errors.New("the answer is lost")

// serve commits the writes that are sent, in the process of the test, until stop is set.
func (l *ledger) serve() {
	var commits sync.WaitGroup
	defer commits.Wait()
	for next := uint64(1); l.stop.Load() == 0; {
		if l.writes[next%maxWrites].number.Load() != next {
			if l.sends.Load() >= next+maxPopulation { // its sender was killed before it was sent
				next++
			}
			time.Sleep(100 * time.Microsecond)
			continue
		}
		w := &l.writes[next%maxWrites]
		number, key, sent := next, int(w.key.Load()), w.sent.Load()
		commits.Go(func() { w.answer(number, l.commit(key, sent)) }) // ends after its delay
		next++
	}
}

// commit commits a write after some time. From then on no process may see an older version: the stored value was dropped before
// the write was sent, and values that are loaded meanwhile are not stored.
func (l *ledger) commit(key int, sent int64) (version uint64) {
	delay := time.Duration(rand.IntN(1000)) * time.Microsecond
	if rand.IntN(2) == 0 {
		delay *= 100
	}
	time.Sleep(delay)
	if machineTime()-sent > int64(statementTimeout) {
		return refused
	}
	version = l.version[key].Add(1)
	l.confirm(key, version)
	return version
}

// answer stores the version for the sender, unless the place is that of another write by now.
func (w *sentWrite) answer(number, version uint64) {
	if w.number.Load() == number {
		w.version.Store(version)
	}
}

// machineTime is a clock that all processes of the machine share.
func machineTime() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	return now.Nano()
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
