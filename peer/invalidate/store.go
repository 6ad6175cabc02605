package invalidate

import (
	"context"
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
	lease   *lease
	entries *otter.Cache[K, *item[V]]
	era     atomic.Uint64 // what was stored in an earlier one is thrown away
	counts  counts
	running sync.WaitGroup // loads, sweeps and expireAll
	closing chan none      // closed by close

	mu       sync.Mutex
	closed   bool              // guarded by mu; nothing is added to running any more
	calls    map[K]*call[V]    // guarded by mu; those that somebody may join, or wait for the next one of
	alive    map[*call[V]]none // guarded by mu; those that run
	blocked  map[K]int         // guarded by mu; updates that are open
	tags     tags              // guarded by mu
	sweeping bool              // guarded by mu
	pending  bool              // guarded by mu; the sweep that runs has to be done again
}

func newStore[K comparable, V any](opts Options[K, V], load func(context.Context, K) (V, error)) (*store[K, V], error) {
	s := &store[K, V]{
		opts:    opts,
		load:    load,
		lease:   new(lease),
		calls:   make(map[K]*call[V]),
		alive:   make(map[*call[V]]none),
		blocked: make(map[K]int),
		tags:    make(tags),
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
	s.running.Go(s.expireAll) // ended by close, which waits
	return s, nil
}

// expireAll gives the memory of what is too old back, now and then. It is not served before, see item.isFresh.
func (s *store[K, V]) expireAll() {
	ticker := time.NewTicker(max(s.opts.Life/sweeps, minSweep))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.closing:
			return
		}
		for key, it := range s.entries.All() {
			if now() >= it.expires {
				s.expire(key, it)
			}
		}
	}
}

// expire takes an item out, unless there is another one by now.
func (s *store[K, V]) expire(key K, it *item[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries.GetEntryQuietly(key); ok && e.Value == it {
		s.entries.Invalidate(key)
	}
}

// get returns what is stored, if it may be served.
func (s *store[K, V]) get(key K) *item[V] {
	it, ok := s.entries.GetIfPresent(key)
	if !ok {
		return nil
	}
	now := now() // after the read
	if !s.lease.runs(now) || !it.isFresh(now, s.era.Load()) {
		return nil
	}
	if now >= it.refresh.Load() {
		s.reload(key, it, now)
	}
	return it
}

// put stores an item, unless it is older than what is there. It is called with mu held: so it comes before or after each
// drop.
func (s *store[K, V]) put(key K, it *item[V]) {
	if s.opts.Version != nil && it.err == nil && !s.opts.broken.version {
		old, ok := s.entries.GetIfPresent(key)
		if ok && old.err == nil && old.isFresh(now(), s.era.Load()) &&
			s.opts.Version(old.value) > s.opts.Version(it.value) {
			s.counts.refused.Add(1)
			return
		}
	}
	s.entries.Set(key, it)
}

// drop throws a key away, and voids the load that is on its way.
func (s *store[K, V]) drop(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(key)
}

func (s *store[K, V]) dropLocked(key K) {
	s.voidLocked(key)
	s.entries.Invalidate(key)
}

// block drops a key and stores none for it until by is taken back.
func (s *store[K, V]) block(key K, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocked[key] += by; s.blocked[key] <= 0 {
		delete(s.blocked, key)
	}
	s.dropLocked(key)
}

// dropTag throws away all that has a tag. The tags of what is on its way are not known, so that is voided.
func (s *store[K, V]) dropTag(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags.drop(name)
	s.voidAllLocked()
}

// flush throws all away, at once; the memory is given back afterwards.
func (s *store[K, V]) flush() {
	s.counts.flushes.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era.Add(1)
	s.voidAllLocked()
	s.pending = true
	if !s.sweeping && !s.closed {
		s.sweeping = true
		s.running.Go(s.sweep) // ends when all is swept; close waits for it
	}
}

// sweep gives the memory back. What was stored after the flush may go, too.
func (s *store[K, V]) sweep() {
	for {
		s.mu.Lock()
		if s.sweeping = s.pending; !s.pending {
			s.mu.Unlock()
			return
		}
		s.pending = false
		s.mu.Unlock()
		s.entries.InvalidateAll()
		s.entries.CleanUp() // it keeps some for later
	}
}

// tagsLocked returns the tags of those names.
func (s *store[K, V]) tagsLocked(names []string) []*tag {
	if len(names) == 0 {
		return nil
	}
	all := make([]*tag, len(names))
	for i, name := range names {
		all[i] = s.tags.get(name, s.forget)
	}
	return all
}

// forget is called when no item has a tag any more.
func (s *store[K, V]) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags.sweep(name)
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
