package versioned

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

const (
	// sweeps is the number of sweeps, which free the memory of void values, in the longest life of a value, and minSweep the
	// shortest time between two of them.
	sweeps   = 4
	minSweep = time.Second
)

// Config configures a store. A function may be nil where it says so.
type Config[K comparable, V any] struct {
	MaxEntries int                                 // most values that are stored, if MaxWeight is 0
	MaxWeight  uint64                              // largest sum of weights
	Weigh      func(key K, value V) uint32         // nil without MaxWeight
	Life       time.Duration                       // longest time for which a value is stored
	Refresh    time.Duration                       // the age at which a value is loaded again; 0: never
	ErrorLife  func(error) time.Duration           // how long an error is stored; nil: not at all
	Tags       func(key K, value V) []string       // nil: there are no tags
	Version    func(value V) uint64                // a lower one does not replace a higher one; nil: all are equal
	Hash       func(K) uint64                      // the same in all processes that share the table
	HashTag    func(string) uint64                 // the same in all these processes, too
	Panicked   func(value any, stack []byte) error // the error of a load that has panicked
	Log        *slog.Logger
}

// Counts are the counters of a store.
type Counts struct {
	Misses, Loads, Bypassed, Failed, Voided, Refused, Flushes atomic.Uint64
}

// values are the stored values of this process, each with the versions of the table under which it was loaded.
type values[K comparable, V any] struct {
	Lease   Lease // values are served while it runs
	config  Config[K, V]
	table   *Table
	entries *otter.Cache[K, *item[V]]
	unknown atomic.Int64  // until then, by the clock, nothing is stored
	era     atomic.Uint64 // values of an earlier era are void
	dirty   chan struct{} // asks for a sweep
	closing chan struct{} // closed by Close
	unsound sync.Once     // for the log

	replacing sync.Mutex // held while an entry is compared and then replaced or removed
	Counts    Counts     // last: away from what each Get reads
}

func (v *values[K, V]) open(config Config[K, V], table *Table) (err error) {
	v.config, v.table = config, table
	v.dirty, v.closing = make(chan struct{}, 1), make(chan struct{})
	v.unknown.Store(clock.Never)
	settings := new(otter.Options[K, *item[V]])              // without its expiration, which would look at the clock a second time
	settings.Executor = func(maintain func()) { maintain() } // at once: a goroutine for each drop costs more than what it does
	if v.config.MaxWeight > 0 {
		settings.MaximumWeight = v.config.MaxWeight
		settings.Weigher = func(key K, it *item[V]) uint32 { return v.config.Weigh(key, it.value) }
	} else {
		settings.MaximumSize = v.config.MaxEntries
	}
	v.entries, err = otter.New(settings)
	return err
}

// sweepAll frees the memory of void and expired values, at intervals. They are not served before.
func (v *values[K, V]) sweepAll() {
	ticker := time.NewTicker(max(v.config.Life/sweeps, minSweep))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-v.dirty:
		case <-v.closing:
			return
		}
		v.table.Observe()
		for key, it := range v.entries.All() {
			if !v.isFresh(it, clock.Now()) {
				v.discard(key, it)
			}
		}
		v.entries.CleanUp() // it keeps some for later
	}
}

// discard removes an item, unless there is another one by now.
func (v *values[K, V]) discard(key K, it *item[V]) {
	v.replacing.Lock()
	defer v.replacing.Unlock()
	if e, ok := v.entries.GetEntryQuietly(key); ok && e.Value == it {
		v.entries.Invalidate(key)
	}
}

// stamp returns the present counters for a class of keys.
func (v *values[K, V]) stamp(class uint64) stamp {
	return stamp{
		key:    v.table.place(class),
		all:    v.table.all(),
		tagged: v.table.tagged(),
		era:    v.era.Load(),
	}
}

// isSound reports whether the counters of a stamp can be those of the table. If not, the load is not stored.
func (v *values[K, V]) isSound(t *stamp) bool {
	if v.table.isSound(t.key.version, t.all, t.tagged) {
		return true
	}
	v.unsound.Do(func() {
		v.config.Log.Warn("another program has written to the shared memory of the cache: values are loaded and not stored, " +
			"until all processes have made the cache again")
	})
	return false
}

func (v *values[K, V]) class(key K) uint64 { return v.table.class(v.config.Hash(key)) }

func (v *values[K, V]) tagClass(name string) uint64 { return v.table.class(v.config.HashTag(name)) }

// holds reports whether no change has voided a load since it was stamped, except by tags.
func (v *values[K, V]) holds(t *stamp) bool {
	return v.era.Load() == t.era && v.table.all() == t.all && v.table.holds(t.key)
}

// isFresh reports whether an item was neither dropped nor stored for too long. Rule 8 is here.
func (v *values[K, V]) isFresh(it *item[V], now int64) bool {
	if now >= it.expires || !v.holds(&it.stamp) {
		return false
	}
	for _, t := range it.tags {
		if !v.table.holds(t) {
			return false
		}
	}
	return true
}

// find returns the stored item, if it may be served, and the time of the lookup.
func (v *values[K, V]) find(key K) (it *item[V], now int64) {
	it, ok := v.entries.GetIfPresent(key)
	if !ok {
		return nil, 0
	}
	now = clock.Now() // after the read
	if !v.isFresh(it, now) || !v.Lease.Runs(now) {
		return nil, now
	}
	return it, now
}

// put stores an item, unless it is older than the stored one.
func (v *values[K, V]) put(key K, it *item[V]) {
	v.replacing.Lock()
	defer v.replacing.Unlock()
	if v.config.Version != nil && it.err == nil {
		old, ok := v.entries.GetIfPresent(key)
		if ok && old.err == nil && v.isFresh(old, clock.Now()) && v.config.Version(old.value) > v.config.Version(it.value) {
			v.Counts.Refused.Add(1)
			return
		}
	}
	v.entries.Set(key, it)
}

// Drop drops the value of a key, and voids a load on its way.
func (v *values[K, V]) Drop(key K) { v.dropClass(v.class(key), key) }

func (v *values[K, V]) dropClass(class uint64, key K) {
	v.table.drop(class)
	v.entries.Invalidate(key)
}

// Block drops the value of a key, and none is stored until the key is released.
func (v *values[K, V]) Block(key K) {
	class := v.class(key)
	v.table.mark(class)
	v.dropClass(class, key)
}

// Release ends one block. Values that were loaded meanwhile were not stored, except in a process that has counted this one as
// dead.
func (v *values[K, V]) Release(key K) {
	class := v.class(key)
	v.table.unmark(class)
	v.dropClass(class, key)
}

// DropTag drops all values with a tag. The tags of loads on their way are not known, so they are voided.
func (v *values[K, V]) DropTag(name string) { v.table.dropTag(v.tagClass(name)) }

// DropAll drops all values, in all processes that share the table.
func (v *values[K, V]) DropAll() {
	v.table.dropAll()
	v.Flush()
}

// Flush drops all values of this process at once; the memory is freed later.
func (v *values[K, V]) Flush() {
	v.Counts.Flushes.Add(1)
	v.era.Add(1)
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}

// Distrust stores nothing for some time, as the keys of an update that may still be committed are not known. Loads on their way
// are not stored either.
func (v *values[K, V]) Distrust(long time.Duration) {
	until := clock.Now() + int64(long)
	for old := v.unknown.Load(); long > 0 && old < until; old = v.unknown.Load() {
		if v.unknown.CompareAndSwap(old, until) {
			v.Flush() // afterwards: a load that begins in between sees one of the two
			return
		}
	}
}

// Distrusts returns for how long nothing is stored, or keys with marks on the table are not.
func (v *values[K, V]) Distrusts() time.Duration {
	long := v.table.settles()
	if until, now := v.unknown.Load(), clock.Now(); until > now {
		long = max(long, time.Duration(until-now))
	}
	return long
}

// tag sets the tags of an item, and reports whether it holds. Tags that are dropped from now on void the item; the drops since
// the load began are counted.
func (v *values[K, V]) tag(it *item[V], names []string) bool {
	for _, name := range names {
		it.tags = append(it.tags, v.table.place(v.tagClass(name)))
		if !v.table.isSound(it.tags[len(it.tags)-1].version) {
			return false
		}
	}
	return v.holds(&it.stamp) && (len(names) == 0 || v.table.tagged() == it.stamp.tagged)
}
