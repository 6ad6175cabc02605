package versioned

import (
	"context"
	"net"
	"sync"
)

// Store is this process's own part of a cache: the stored values, and the loads that fill it. Its methods may be called
// concurrently.
//
// Locks: mu is for the loads. A load that ends stores its value under mu, and takes values.replacing and the table's mutex after
// it; nothing takes mu while it holds one of those.
type Store[K comparable, V any] struct {
	values[K, V]
	load    func(context.Context, K) (V, error)
	running sync.WaitGroup // loads and sweepAll

	mu     sync.Mutex
	closed bool                  // guarded by mu; nothing is added to running any more
	calls  map[K]*call[V]        // guarded by mu; the loads that Gets may join, or whose next they may wait for
	alive  map[*call[V]]struct{} // guarded by mu; the loads that run
}

// New returns a store whose values come from load. Its lease is suspended.
func New[K comparable, V any](config Config[K, V], table *Table, load func(context.Context, K) (V, error)) (*Store[K, V], error) {
	s := &Store[K, V]{
		load:  load,
		calls: make(map[K]*call[V]),
		alive: make(map[*call[V]]struct{}),
	}
	if err := s.open(config, table); err != nil {
		return nil, err
	}
	s.running.Go(s.sweepAll) // ended by Close, which waits
	return s, nil
}

// Get returns the stored value, or the result of the loader, for which it waits until ctx is done.
func (s *Store[K, V]) Get(ctx context.Context, key K) (V, error) {
	it, now := s.find(key)
	if it == nil {
		s.Counts.Misses.Add(1)
		return s.fetch(ctx, key)
	}
	if now >= it.refresh.Load() {
		s.reload(key, it, now)
	}
	return it.value, it.err
}

// Len returns the number of values in memory, including void ones.
func (s *Store[K, V]) Len() int { return s.entries.EstimatedSize() }

// Check returns net.ErrClosed after Close.
func (s *Store[K, V]) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

// Close ends all loads, and returns when nothing of ours runs any more.
func (s *Store[K, V]) Close() {
	s.mu.Lock()
	s.closed = true
	close(s.closing)
	s.Lease.Suspend()
	for c := range s.alive {
		c.cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
	s.entries.InvalidateAll()
}
