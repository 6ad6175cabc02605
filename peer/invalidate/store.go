package invalidate

import (
	"context"
	"hash/fnv"
	"hash/maphash"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// sweeps is how often in the longest life of a value all are looked at, to give memory back, and minSweep the shortest
	// time between two times.
	sweeps   = 4
	minSweep = time.Second
)

// store is the part of a cache that this process has for itself: what is stored, and what is on its way.
type store[K comparable, V any] struct {
	opts    Options[K, V]
	load    func(context.Context, K) (V, error)
	board   *board
	hash    func(K) uint64
	lease   *lease
	entries *otter.Cache[K, *item[V]]
	unknown atomic.Int64  // until then, by the clock, nothing is stored
	era     atomic.Uint64 // what was stored in an earlier one is thrown away
	counts  counts
	running sync.WaitGroup // loads and sweepAll
	dirty   chan none      // asks for a sweep
	closing chan none      // closed by close
	unsound sync.Once      // for the log

	mu     sync.Mutex
	closed bool              // guarded by mu; nothing is added to running any more
	calls  map[K]*call[V]    // guarded by mu; those that somebody may join, or wait for the next one of
	alive  map[*call[V]]none // guarded by mu; those that run
}

func newStore[K comparable, V any](opts Options[K, V], b *board, load func(context.Context, K) (V, error)) (*store[K, V], error) {
	s := &store[K, V]{
		opts:    opts,
		load:    load,
		board:   b,
		hash:    hashFor(opts.Codec),
		lease:   new(lease),
		calls:   make(map[K]*call[V]),
		alive:   make(map[*call[V]]none),
		dirty:   make(chan none, 1),
		closing: make(chan none),
	}
	settings := new(otter.Options[K, *item[V]])              // without its expiration, which would look at the clock a second time
	settings.Executor = func(maintain func()) { maintain() } // at once: a goroutine for each drop costs more than what it does
	if opts.MaxWeight > 0 {
		settings.MaximumWeight = opts.MaxWeight
		settings.Weigher = func(key K, it *item[V]) uint32 { return opts.Weigh(key, it.value) }
	} else {
		settings.MaximumSize = opts.MaxEntries
	}
	var err error
	if s.entries, err = otter.New(settings); err != nil {
		return nil, err
	}
	s.unknown.Store(never)
	s.running.Go(s.sweepAll) // ended by close, which waits
	return s, nil
}

// hashFor returns a hash of keys that is the same in all processes. A key that has no bytes cannot be invalidated by any
// other process, but with all.
func hashFor[K comparable](codec Codec[K]) func(K) uint64 {
	seed := maphash.MakeSeed()
	return func(key K) uint64 {
		bytes, err := codec.Append(nil, key)
		if err != nil {
			return maphash.Comparable(seed, key)
		}
		return hashOf(opKey, bytes)
	}
}

// hashOf tells what an op is about. A class is taken from the low bits, which are not as good as the rest of FNV.
func hashOf(o op, data []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(o)}) // never fails
	_, _ = h.Write(data)
	sum := h.Sum64()
	return sum ^ sum>>32
}

// sweepAll gives the memory of what is void or too old back, now and then. It is not served before.
func (s *store[K, V]) sweepAll() {
	ticker := time.NewTicker(max(s.opts.Life/sweeps, minSweep))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.dirty:
		case <-s.closing:
			return
		}
		s.board.observe()
		for key, it := range s.entries.All() {
			if !s.isFresh(it, now()) {
				s.discard(key, it)
			}
		}
		s.entries.CleanUp() // it keeps some for later
	}
}

// discard takes an item out, unless there is another one by now.
func (s *store[K, V]) discard(key K, it *item[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries.GetEntryQuietly(key); ok && e.Value == it {
		s.entries.Invalidate(key)
	}
}

// stamp is what the board says of a class of keys now.
func (s *store[K, V]) stamp(class uint64) stamp {
	return stamp{
		key:    s.board.place(class),
		all:    s.board.all(),
		tagged: s.board.tagged(),
		era:    s.era.Load(),
	}
}

// isSound reports whether the counters of a stamp are those of the board. If not, nothing is stored from here on.
func (s *store[K, V]) isSound(t *stamp) bool {
	if s.board.isSound(t.key.version, t.all, t.tagged) {
		return true
	}
	s.unsound.Do(func() {
		s.opts.Logger.Warn("another program has written to the shared memory of the cache: values are loaded and not stored, " +
			"until all processes have made the cache again")
	})
	return false
}

func (s *store[K, V]) class(key K) uint64 { return s.board.class(s.hash(key)) }

func (s *store[K, V]) tagClass(name string) uint64 { return s.board.class(hashOf(opTag, []byte(name))) }

// holds reports whether nothing has made a load void since it was stamped, but for tags.
func (s *store[K, V]) holds(t *stamp) bool {
	return s.era.Load() == t.era && s.board.all() == t.all && s.board.holds(t.key)
}

// isFresh reports whether an item was neither dropped nor stored for too long. Rule 8 is here.
func (s *store[K, V]) isFresh(it *item[V], now int64) bool {
	if now >= it.expires || !s.holds(&it.stamp) {
		return false
	}
	for _, t := range it.tags {
		if !s.board.holds(t) {
			return false
		}
	}
	return true
}

// get returns what is stored, if it may be served.
func (s *store[K, V]) get(key K) *item[V] {
	it, ok := s.entries.GetIfPresent(key)
	if !ok {
		return nil
	}
	now := now() // after the read
	if !s.isFresh(it, now) || !s.lease.runs(now) {
		return nil
	}
	if now >= it.refresh.Load() {
		s.reload(key, it, now)
	}
	return it
}

// put stores an item, unless it is older than what is there. It is called with mu held.
func (s *store[K, V]) put(key K, it *item[V]) {
	if s.opts.Version != nil && it.err == nil {
		old, ok := s.entries.GetIfPresent(key)
		if ok && old.err == nil && s.isFresh(old, now()) && s.opts.Version(old.value) > s.opts.Version(it.value) {
			s.counts.refused.Add(1)
			return
		}
	}
	s.entries.Set(key, it)
}

// drop throws a key away, and voids the load that is on its way.
func (s *store[K, V]) drop(key K) { s.dropClass(s.class(key), key) }

func (s *store[K, V]) dropClass(class uint64, key K) {
	s.board.drop(class)
	s.entries.Invalidate(key)
}

// block drops a key and stores none for it until it is released.
func (s *store[K, V]) block(key K) {
	class := s.class(key)
	s.board.mark(class)
	s.dropClass(class, key)
}

// release ends one block. What was loaded meanwhile is not stored, but in a process that has taken this one for gone.
func (s *store[K, V]) release(key K) {
	class := s.class(key)
	s.board.unmark(class)
	s.dropClass(class, key)
}

// dropTag throws away all that has a tag. The tags of what is on its way are not known, so that is voided.
func (s *store[K, V]) dropTag(name string) { s.board.dropTag(s.tagClass(name)) }

// dropAll throws all away, in all processes that share the board.
func (s *store[K, V]) dropAll() {
	s.board.dropAll()
	s.flush()
}

// flush throws all away in this process, at once; the memory is given back afterwards.
func (s *store[K, V]) flush() {
	s.counts.flushes.Add(1)
	s.era.Add(1)
	select {
	case s.dirty <- none{}:
	default:
	}
}

// distrust stores nothing for some time, as the keys of an update that may still be committed are not known. What is on its way
// is not stored either.
func (s *store[K, V]) distrust(long time.Duration) {
	until := now() + int64(long)
	for old := s.unknown.Load(); long > 0 && old < until; old = s.unknown.Load() {
		if s.unknown.CompareAndSwap(old, until) {
			s.flush() // afterwards: a load that begins in between sees one of the two
			return
		}
	}
}

// distrusts returns for how long nothing is stored, or some keys are not that only the board knows.
func (s *store[K, V]) distrusts() time.Duration {
	long := s.board.settles()
	if until, now := s.unknown.Load(), now(); until > now {
		long = max(long, time.Duration(until-now))
	}
	return long
}

// check returns an error after close.
func (s *store[K, V]) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

// close ends all loads, and returns when nothing of ours runs any more.
func (s *store[K, V]) close() {
	s.mu.Lock()
	s.closed = true
	close(s.closing)
	s.lease.until.Store(0)
	for c := range s.alive {
		c.cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
	s.entries.InvalidateAll()
}
