package versioned

import (
	"context"
	"errors"
	"net"
	"runtime/debug"

	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
)

// call is one load of a key. Its fields are guarded by the store's mu, but for those that are set when it is made or before
// done is closed.
type call[V any] struct {
	done   chan struct{} // closed when the load has ended
	value  V
	err    error
	ctx    context.Context //nolint:containedctx // of the load: it ends when no Get waits any more
	cancel func()
	caller context.Context //nolint:containedctx // of the first Get that waits
	class  uint64          // of the key

	waiting int      // who waits for it; a refresh counts as one
	token   stamp    // what it returns may be stored, and others may join, as long as this holds
	bypass  bool     // not even then
	began   int64    // by the clock
	next    *call[V] // begins when this one has ended, for those who cannot join
	reload  bool     // the value is there, and is loaded anew
}

// newCall returns a call that has not begun. The load has the values of ctx and not its end.
func newCall[V any](ctx context.Context, class uint64) *call[V] {
	c := &call[V]{done: make(chan struct{}), class: class, caller: ctx}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

// fetch returns the result of a load that has begun after it was called, or before and was good then.
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

// join returns the load to wait for, or what is stored, where a load has ended a moment ago.
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
	case s.isVoid(c): // who has joined it gets its value
		next := c.next
		if c.next = nil; next == nil {
			next = newCall[V](ctx, class)
		}
		c = next
		s.beginLocked(key, c)
	case c.bypass || !s.Lease.Runs(clock.Now()): // nobody knows here whether what it reads is old by now
		if c.next == nil {
			c.next = newCall[V](ctx, class)
		}
		c = c.next
	}
	c.waiting++
	return nil, c, nil
}

// isVoid reports whether a change has made a load void. Its tags are not known yet.
func (s *Store[K, V]) isVoid(c *call[V]) bool {
	return !s.holds(&c.token) || s.table.tagged() != c.token.tagged
}

// beginLocked starts a load. What it returns may be stored if the lease runs and no update of the key is open.
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

// itemOf returns what is to be stored, nil if nothing is, and its tags.
func (s *Store[K, V]) itemOf(key K, c *call[V]) (it *item[V], names []string) {
	life := s.config.Life
	if c.err != nil {
		if s.config.ErrorLife == nil || c.reload || c.isCanceled() { // the value that is there is better than an error
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

// isCanceled reports whether the error of a load tells of the end of a context, its own or that of the Get that needed it
// first, and so nothing of the key. A deadline that the loader has set itself is an error like others.
func (c *call[V]) isCanceled() bool {
	return errors.Is(c.err, context.Canceled) || c.caller.Err() != nil && errors.Is(c.err, c.caller.Err())
}

// finishLocked stores what a load has returned, if its token holds, and begins the next one. Rule 1 is here: what is stored
// has the token, and Get looks at that as well.
func (s *Store[K, V]) finishLocked(key K, c *call[V], it *item[V], names []string) {
	switch {
	case it == nil || c.bypass || c.ctx.Err() != nil: // an abandoned load tells of its end, not of the key
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

// abandon is for one who waits no longer. The load ends when it was the last one.
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

// reload loads a value anew, if that is not being done. Get goes on with the one that is there.
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
	c.waiting++ // lest one who joins and goes ends it
	s.beginLocked(key, c)
}
