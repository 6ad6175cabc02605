package versioned

import (
	"context"
	"errors"
	"net"
	"runtime/debug"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// call is one load of a key. Its fields are guarded by the store's mu, except those that are set when it is made or before done
// is closed.
type call[V any] struct {
	done   chan struct{} // closed when the load has ended
	value  V
	err    error
	ctx    context.Context //nolint:containedctx // of the load: it ends when no Get waits any more
	cancel func()
	caller context.Context //nolint:containedctx // of the first Get that waits
	class  uint64          // of the key

	waiting int      // Gets that wait for it; a refresh counts as one
	token   stamp    // as long as it holds, the result may be stored, and other Gets may join
	bypass  bool     // not even then
	began   int64    // by the clock
	next    *call[V] // begins when this one has ended, for Gets that cannot join
	reload  bool     // a refresh of a stored value
}

// newCall returns a call that has not begun. The context of the load has the values of ctx and not its end.
func newCall[V any](ctx context.Context, class uint64) *call[V] {
	c := &call[V]{done: make(chan struct{}), class: class, caller: ctx}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

// fetch returns the result of a load that begins after the call of fetch, or is not void at that time.
func (s *Store[K, V]) fetch(ctx context.Context, key K) (value V, err error) {
	it, c, err := s.join(ctx, key)
	switch {
	case err != nil:
		return value, err
	case it != nil:
		return it.value, it.err
	}
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		s.abandon(key, c)
		return value, ctx.Err()
	}
}

// join returns the load to wait for, or the stored item if a load has ended just now.
func (s *Store[K, V]) join(ctx context.Context, key K) (it *item[V], c *call[V], err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	class := s.class(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, net.ErrClosed
	}
	c = s.calls[key]
	switch {
	case c == nil:
		if it, _ := s.find(key); it != nil {
			return it, nil, nil
		}
		c = newCall[V](ctx, class)
		s.beginLocked(key, c)
	case s.isVoid(c): // Gets that have joined it return its value
		next := c.next
		if c.next = nil; next == nil {
			next = newCall[V](ctx, class)
		}
		c = next
		s.beginLocked(key, c)
	case c.bypass || !s.Lease.Runs(clock.Now()): // the values that it reads may be old by now
		if c.next == nil {
			c.next = newCall[V](ctx, class)
		}
		c = c.next
	}
	c.waiting++
	return nil, c, nil
}

// isVoid reports whether a change has voided a load. Its tags are not known yet, so any dropped tag does.
func (s *Store[K, V]) isVoid(c *call[V]) bool {
	return !s.holds(&c.token) || s.table.tagged() != c.token.tagged
}

// beginLocked starts a load. The result may be stored if the lease runs and no update of the key is open.
func (s *Store[K, V]) beginLocked(key K, c *call[V]) {
	s.calls[key] = c
	c.began, c.token = clock.Now(), s.stamp(c.class) // first
	c.bypass = !s.Lease.Runs(c.began) || c.began < s.unknown.Load() || !s.table.isFree(c.class) || !s.isSound(&c.token)
	s.Counts.Loads.Add(1)
	s.alive[c] = struct{}{}
	if c.bypass {
		s.Counts.Bypassed.Add(1)
	}
	s.running.Go(func() { s.run(key, c) }) // ends with the loader, whose context close ends; close waits
}

// run calls the loader.
func (s *Store[K, V]) run(key K, c *call[V]) {
	defer c.cancel()
	var it *item[V]
	var names []string
	c.err = ErrGoexit
	defer func() {
		if reason := recover(); reason != nil {
			it, c.err = nil, s.config.Panicked(reason, debug.Stack())
		}
		s.finish(key, c, it, names)
	}()
	c.value, c.err = s.load(c.ctx, key)
	it, names = s.itemOf(key, c)
}

// ErrGoexit is the error of a load whose loader has called runtime.Goexit, as a test's FailNow does.
var ErrGoexit = errors.New("the loader did not return: it has called runtime.Goexit")

func (s *Store[K, V]) finish(key K, c *call[V], it *item[V], names []string) {
	if c.err != nil {
		s.Counts.Failed.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(key, c, it, names)
	close(c.done)
}

// itemOf returns the item to store, nil if there is none, and the names of its tags.
func (s *Store[K, V]) itemOf(key K, c *call[V]) (it *item[V], names []string) {
	life := s.config.Life
	if c.err != nil {
		if s.config.ErrorLife == nil || c.reload || c.isCanceled() { // the stored value is better than an error
			return nil, nil
		}
		life = min(life, s.config.ErrorLife(c.err))
	} else if s.config.Tags != nil {
		names = s.config.Tags(key, c.value)
	}
	if life <= 0 {
		return nil, nil
	}
	it = &item[V]{value: c.value, err: c.err, stamp: c.token, expires: c.began + int64(life)}
	it.refresh.Store(clock.Forever)
	if s.config.Refresh > 0 {
		it.refresh.Store(c.began + int64(s.config.Refresh))
	}
	return it, names
}

// isCanceled reports whether the error of a load is due to the end of a context, its own or that of the first Get, and so says
// nothing of the key. A deadline that the loader has set itself is an error like others.
func (c *call[V]) isCanceled() bool {
	return errors.Is(c.err, context.Canceled) || c.caller.Err() != nil && errors.Is(c.err, c.caller.Err())
}

// finishLocked stores the result of a load, if its token holds, and begins the next load. Rule 1 is here: the stored item has the
// token, and Get checks it again.
func (s *Store[K, V]) finishLocked(key K, c *call[V], it *item[V], names []string) {
	switch {
	case it == nil || c.bypass || c.ctx.Err() != nil: // the error of an abandoned load is about its end, not the key
	case s.tag(it, names):
		s.put(key, it)
	default:
		s.Counts.Voided.Add(1)
	}
	delete(s.alive, c)
	if s.calls[key] == c {
		delete(s.calls, key)
		s.promoteLocked(key, c)
	}
}

// promoteLocked begins the load that waits for the end of c.
func (s *Store[K, V]) promoteLocked(key K, c *call[V]) {
	next := c.next
	c.next = nil
	switch {
	case next == nil:
	case s.closed || next.waiting == 0:
		next.err = net.ErrClosed
		next.cancel()
		close(next.done)
	default:
		s.beginLocked(key, next)
	}
}

// abandon ends the wait of a Get. It cancels the load when no other Get waits.
func (s *Store[K, V]) abandon(key K, c *call[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.waiting--; c.waiting > 0 {
		return
	}
	c.cancel()
	switch parent := s.calls[key]; {
	case parent == c:
		delete(s.calls, key)
		s.promoteLocked(key, c)
	case parent != nil && parent.next == c:
		parent.next = nil
	}
}

// reload loads a value again, unless a load is running. Get returns the stored value meanwhile.
func (s *Store[K, V]) reload(key K, it *item[V], now int64) {
	if due := it.refresh.Load(); now < due || !it.refresh.CompareAndSwap(due, now+int64(s.config.Refresh)) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.calls[key] != nil {
		return
	}
	c := newCall[V](context.Background(), it.stamp.key.class)
	c.reload = true
	c.waiting++ // so that a Get that joins and leaves does not cancel it
	s.beginLocked(key, c)
}
