package invalidate

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
)

// call is one load of a key. Its fields are guarded by the store's mu, but for those that are set when it is made or before
// done is closed.
type call[V any] struct {
	done   chan struct{} // closed when the load has ended
	value  V
	err    error
	ctx    context.Context //nolint:containedctx // of the load: it ends when nobody waits any more
	cancel func()

	waiting int      // who waits for it; a refresh counts as one
	token   bool     // what it returns may be stored, and others may join; taken away by voidLocked
	era     uint64   // of the store when it began
	began   int64    // by the clock
	next    *call[V] // begins when this one has ended, for those who cannot join
	reload  bool     // the value is there, and is loaded anew
	bypass  bool     // it never had a token
}

// newCall returns a call that has not begun. The load has the values of ctx and not its end.
func newCall[V any](ctx context.Context) *call[V] {
	c := &call[V]{done: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

// fetch returns the result of a load that has begun after it was called, or before and was good then.
func (s *store[K, V]) fetch(ctx context.Context, key K) (value V, err error) {
	c, err := s.join(ctx, key)
	if err != nil {
		return value, err
	}
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		s.abandon(key, c)
		return value, ctx.Err()
	}
}

func (s *store[K, V]) join(ctx context.Context, key K) (*call[V], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	c := s.calls[key]
	switch {
	case c == nil:
		c = newCall[V](ctx)
		s.beginLocked(key, c)
	case !c.token || !s.lease.runs(now()): // nobody knows here whether what it reads is old by now
		if c.next == nil {
			c.next = newCall[V](ctx)
		}
		c = c.next
	}
	c.waiting++
	return c, nil
}

// beginLocked starts a load. It has a token while the lease runs and no update of the key is open.
func (s *store[K, V]) beginLocked(key K, c *call[V]) {
	s.calls[key] = c
	c.began, c.era = now(), s.era.Load()
	c.token = s.lease.runs(c.began) && s.blocked[key] == 0
	s.counts.loads.Add(1)
	s.alive[c] = none{}
	if c.bypass = !c.token; c.bypass {
		s.counts.bypassed.Add(1)
	}
	s.running.Go(func() { s.run(key, c) }) // ends with the loader, whose context close ends; close waits
}

// run calls the loader.
func (s *store[K, V]) run(key K, c *call[V]) {
	defer c.cancel()
	var it *item[V]
	var names []string
	c.err = errGoexit
	defer func() {
		if reason := recover(); reason != nil {
			it, c.err = nil, &PanicError{Value: reason, Stack: debug.Stack()}
		}
		s.finish(key, c, it, names)
	}()
	c.value, c.err = s.load(c.ctx, key)
	it, names = s.itemOf(key, c)
}

// errGoexit is the error of a load whose loader has called runtime.Goexit, as a test's FailNow does.
var errGoexit = errors.New("the loader did not return: it has called runtime.Goexit")

func (s *store[K, V]) finish(key K, c *call[V], it *item[V], names []string) {
	if c.err != nil {
		s.counts.failed.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked(key, c, it, names)
	close(c.done)
}

// itemOf returns what is to be stored, nil if nothing is, and its tags.
func (s *store[K, V]) itemOf(key K, c *call[V]) (it *item[V], names []string) {
	life := s.opts.Life
	if c.err != nil {
		if s.opts.ErrorLife == nil || c.reload { // the value that is there is better
			return nil, nil
		}
		life = min(life, s.opts.ErrorLife(c.err))
	} else if s.opts.Tags != nil {
		names = s.opts.Tags(key, c.value)
	}
	if life <= 0 {
		return nil, nil
	}
	it = &item[V]{value: c.value, err: c.err, era: c.era, expires: c.began + int64(life)}
	if s.opts.broken.life {
		it.expires = forever
	}
	it.refresh.Store(forever)
	if s.opts.Refresh > 0 {
		it.refresh.Store(c.began + int64(s.opts.Refresh))
	}
	return it, names
}

// finishLocked stores what a load has returned, if its token is not void, and begins the next one. Rule 1 is here.
func (s *store[K, V]) finishLocked(key K, c *call[V], it *item[V], names []string) {
	switch {
	case it == nil:
	case c.token || s.opts.broken.token:
		it.tags = s.tagsLocked(names)
		s.put(key, it)
	case !c.bypass:
		s.counts.voided.Add(1)
	}
	delete(s.alive, c)
	if s.calls[key] == c {
		delete(s.calls, key)
		s.promoteLocked(key, c)
	}
}

// promoteLocked begins the load that waits for the end of c, or for it to be void.
func (s *store[K, V]) promoteLocked(key K, c *call[V]) {
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

// voidLocked takes the token of the load of a key away. Who has joined it gets its value; the next Get starts another.
func (s *store[K, V]) voidLocked(key K) {
	if c := s.calls[key]; c != nil {
		c.token = false
		delete(s.calls, key)
		s.promoteLocked(key, c)
	}
}

func (s *store[K, V]) voidAllLocked() {
	keys := make([]K, 0, len(s.calls))
	for key := range s.calls {
		keys = append(keys, key)
	}
	for _, key := range keys {
		s.voidLocked(key)
	}
}

// abandon is for one who waits no longer. The load ends when it was the last one.
func (s *store[K, V]) abandon(key K, c *call[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.waiting--; c.waiting > 0 {
		return
	}
	c.cancel()
	switch parent := s.calls[key]; {
	case parent == c:
		s.voidLocked(key)
	case parent != nil && parent.next == c:
		parent.next = nil
	}
}

// reload loads a value anew, if that is not being done. Get goes on with the one that is there.
func (s *store[K, V]) reload(key K, it *item[V], now int64) {
	if due := it.refresh.Load(); now < due || !it.refresh.CompareAndSwap(due, now+int64(s.opts.Refresh)) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.calls[key] != nil {
		return
	}
	c := newCall[V](context.Background())
	c.reload = true
	c.waiting++ // lest one who joins and goes ends it
	s.beginLocked(key, c)
}
