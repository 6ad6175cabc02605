package invalidate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/clock"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// Cache is this process's part of a cache. Its methods may be called concurrently.
type Cache[K comparable, V any] struct {
	name    string
	clone   func(V) V // nil: values are shared
	codec   Codec[K]
	store   *versioned.Store[K, V]
	inDoubt *inDoubt[K]
	group   *group        // nil: there are no other processes
	remote  *remote[K, V] // for the group
	close   func() error
}

// New makes a cache whose values come from load, together with the other processes that make one of the same name on the mesh of
// the bus. A nil bus is for a process without a cluster, as in a test.
//
// load runs in a goroutine of its own, once at a time for a key, unless the key was invalidated meanwhile. Its context has the
// values of the Get that needs it first, and ends when no Get waits any more. If load panics, the Gets that wait return a
// *PanicError.
//
// All Gets of this process return the same value. Neither load nor a caller may change the memory that it refers to: even an
// append to a slice can show up in a later Get. With Options.Clone each Get returns a copy.
//
// New asks the other processes for the shared memory. It waits up to 5 seconds for a process that hangs, if no other process has
// the memory and the kernel does not show it. Until all processes know of the cache, Get always loads.
func New[K comparable, V any](b *bus.Bus, opts Options[K, V], load func(ctx context.Context, key K) (V, error)) (*Cache[K, V], error) {
	opts = opts.withDefaults(b)
	c, err := newCache(b, opts, load)
	if err != nil {
		return nil, fmt.Errorf("invalidate: cache %q: %w", opts.Name, err)
	}
	return c, nil
}

func newCache[K comparable, V any](b *bus.Bus, opts Options[K, V], load func(context.Context, K) (V, error)) (*Cache[K, V], error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	var mesh *peer.Mesh
	if b != nil {
		mesh = b.Mesh()
	}
	table, host := opts.tableIn(mesh)
	s, err := versioned.New(opts.config(), table, load)
	if err != nil {
		return nil, errors.Join(err, host.close(), table.Close())
	}
	c := &Cache[K, V]{store: s, name: opts.Name, clone: opts.Clone, inDoubt: newInDoubt[K](opts.CommitTimeout), codec: opts.Codec}
	c.inDoubt.end = c.endBlocks
	c.close = sync.OnceValue(c.shutdown)
	if mesh == nil {
		s.Lease.RunUntil(clock.Forever)
		return c, nil
	}
	c.remote = &remote[K, V]{Store: s, codec: opts.Codec, inDoubt: c.inDoubt}
	terms := terms{name: opts.Name, length: opts.Lease, commit: opts.CommitTimeout, fence: opts.Fence, log: opts.Logger}
	g := newGroup(b, terms, table, host, c.remote, &s.Lease)
	c.group = g // before start: updates of other processes may end here
	if err := g.start(); err != nil {
		g.stop()
		s.Close()
		return nil, errors.Join(err, host.close(), table.Close())
	}
	return c, nil
}

// Get returns the value of a key: the stored one, or what the loader returns, for which it waits until ctx is done; the load
// goes on for others that wait. The value must not be changed, see New. The error is that of the loader, or of ctx, or
// net.ErrClosed.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (value V, err error) {
	shared, err := c.store.Get(ctx, key)
	switch {
	case c.clone == nil:
		return shared, err
	case err != nil:
		return value, err
	default:
		return c.clone(shared), nil
	}
}

// Invalidate drops the values of keys in all processes. After it has returned nil, each Get, in any of them, returns a value
// that was loaded after Invalidate was called. It does not wait for processes that share memory with this one, and for others
// that hang no longer than their Options.Lease.
//
// If ctx ends before, the error is an *UnconfirmedError, and net.ErrClosed if the cache or the mesh is closed. The values are
// dropped all the same.
func (c *Cache[K, V]) Invalidate(ctx context.Context, keys ...K) error {
	ops, err := c.encode(wire.OpKey, keys)
	if err != nil {
		return c.failed("invalidate", err)
	}
	for _, key := range keys { // here first
		c.store.Drop(key)
	}
	return c.failed("invalidate", c.post(ctx, ops, nil, len(keys)))
}

// InvalidateTag is Invalidate for all values with a tag of Options.Tags.
func (c *Cache[K, V]) InvalidateTag(ctx context.Context, tag string) error {
	c.store.DropTag(tag)
	return c.failed("invalidate tag", c.post(ctx, wire.AppendOp(nil, wire.OpTag, []byte(tag)), nil, 1))
}

// InvalidateAll is Invalidate for all keys.
func (c *Cache[K, V]) InvalidateAll(ctx context.Context) error {
	c.store.DropAll()
	return c.failed("invalidate all", c.post(ctx, wire.AppendOp(nil, wire.OpAll, nil), nil, 1))
}

// Update calls commit, and drops the values of keys. From before commit until after it, no process stores a value of these keys.
// When Update returns nil, what Invalidate promises holds.
//
// The database may commit later when this process dies in commit, or commit panics or returns an error other than
// ErrNotCommitted. So each Get of these keys loads then, in all processes, for Options.CommitTimeout.
//
// Unless all processes have confirmed that they know, commit is not called, and the error is an *UnconfirmedError that is
// ErrNotCommitted. Else it is that of commit, or an *UnconfirmedError if not all have confirmed the end.
func (c *Cache[K, V]) Update(ctx context.Context, keys []K, commit func(ctx context.Context) error) error {
	return c.failed("update", c.update(ctx, keys, commit))
}

func (c *Cache[K, V]) update(ctx context.Context, keys []K, commit func(ctx context.Context) error) (err error) {
	begins, err := c.encode(wire.OpBegin, keys)
	if err != nil {
		return err
	}
	if len(begins) > maxBatch {
		return fmt.Errorf("the keys have %d bytes, and %d is the most for one update: make several", len(begins), maxBatch)
	}
	ends, err := c.encode(wire.OpEnd, keys)
	if err != nil {
		return err
	}
	keys = slices.Clone(keys)
	for _, key := range keys {
		c.store.Block(key)
	}
	isKnown := true // whether it is certain what the database has, or will have
	defer func() {  // also when commit panics
		if !isKnown {
			c.inDoubt.add(keys)
			return
		}
		for _, key := range keys {
			c.store.Release(key)
		}
		if ended := c.post(ctx, nil, ends, len(keys)); !errors.Is(err, ErrNotCommitted) {
			err = errors.Join(err, ended)
		}
	}()
	if err := c.post(ctx, nil, begins, len(keys)); err != nil {
		if unconfirmed, ok := errors.AsType[*UnconfirmedError](err); ok {
			unconfirmed.NotCommitted = true
		}
		return err
	}
	isKnown = false
	err = commit(ctx)
	isKnown = err == nil || errors.Is(err, ErrNotCommitted)
	return err
}

// endBlocks ends one block of each key, here and in the other processes. It does not wait for them: they store a value later.
func (c *Cache[K, V]) endBlocks(keys []K) {
	for _, key := range keys {
		c.store.Release(key)
	}
	ends, err := c.encode(wire.OpEnd, keys)
	if err == nil && c.group != nil && len(keys) > 0 { // encoding has succeeded at the begin
		_, _ = c.group.writer.post(nil, ends, len(keys)) // fails when this process has left: the others have the keys, too
	}
}

// post sends a change to the other processes, and waits for their confirmations.
func (c *Cache[K, V]) post(ctx context.Context, drops, marks []byte, count int) error {
	if c.group == nil {
		return c.store.Check()
	}
	unknown := c.group.members.awaitKnown(ctx) // first: a process that does not know this one would have to flush
	b, err := c.group.writer.post(drops, marks, count)
	if err != nil || unknown != nil {
		return cmp.Or(err, unknown)
	}
	return c.group.writer.await(ctx, b)
}

func (c *Cache[K, V]) encode(o wire.Op, keys []K) (ops []byte, err error) {
	if c.group == nil {
		return nil, nil
	}
	var buf []byte
	for _, key := range keys {
		if buf, err = c.codec.Append(buf[:0], key); err != nil {
			return nil, err
		}
		ops = wire.AppendOp(ops, o, buf)
	}
	return ops, nil
}

func (c *Cache[K, V]) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("invalidate: %s in cache %q: %w", what, c.name, err)
}

// Stats returns the counters and the state of the cache.
func (c *Cache[K, V]) Stats() Stats {
	counts := &c.store.Counts
	stats := Stats{
		Entries:  c.store.Len(),
		Serving:  c.store.Lease.Runs(clock.Now()),
		Misses:   counts.Misses.Load(),
		Loads:    counts.Loads.Load(),
		Bypassed: counts.Bypassed.Load(),
		Failed:   counts.Failed.Load(),
		Voided:   counts.Voided.Load(),
		Refused:  counts.Refused.Load(),
		Flushes:  counts.Flushes.Load(),
	}
	if c.group != nil {
		stats.Changes = c.group.writer.changes.Load()
		stats.Sent = c.group.writer.sent.Load()
		stats.Applied = c.remote.applied.Load()
		stats.Peers = c.group.peers()
	}
	return stats
}

// Close leaves the group, and the other processes wait for this one no longer. It ends the contexts of the loads and waits for
// them. Pending and later calls fail with net.ErrClosed. Close may be called again.
func (c *Cache[K, V]) Close() error { return c.close() }

func (c *Cache[K, V]) shutdown() error {
	var err error
	c.inDoubt.close()
	if c.group != nil {
		err = c.group.close()
	}
	c.store.Close()
	return err
}
