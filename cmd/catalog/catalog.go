package main

import (
	"context"
	"errors"
	"time"

	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate"
)

// missingLife is how long a node remembers that there is no such product. A new product is seen at once all the same.
const missingLife = 10 * time.Second

// reading is a product as the database had it at a time.
type reading struct {
	product product
	at      time.Time
}

// missingError is the result of reading a missing product.
type missingError struct{ at time.Time }

func (e *missingError) Error() string { return errMissing.Error() }
func (e *missingError) Unwrap() error { return errMissing }

// catalog is the products behind the cache of this node.
type catalog struct {
	store *store
	cache *invalidate.Cache[int64, reading] // nil: each reading is from the database
}

func newCatalog(s *store, b *bus.Bus, opts options) (*catalog, error) {
	c := &catalog{store: s}
	if opts.nocache {
		return c, nil
	}
	var err error
	c.cache, err = invalidate.New(b, invalidate.Options[int64, reading]{
		Name:                "products",
		ErrorLife:           errorLife,
		CommitTimeout:       -1, // SQLite runs in this process: what it has not committed when that returns or dies, it never will
		DisableSharedMemory: opts.messages,
		Logger:              opts.cluster.Logger,
	}, c.load)
	return c, err
}

func errorLife(err error) time.Duration {
	if errors.Is(err, errMissing) {
		return missingLife
	}
	return 0
}

func (c *catalog) load(ctx context.Context, id int64) (reading, error) {
	p, err := c.store.product(ctx, id)
	if errors.Is(err, errMissing) {
		return reading{}, &missingError{time.Now()}
	}
	return reading{p, time.Now()}, err
}

func (c *catalog) get(ctx context.Context, id int64) (reading, error) {
	if c.cache == nil {
		return c.load(ctx, id)
	}
	return c.cache.Get(ctx, id)
}

// saved is the result of a put.
type saved struct {
	product product // as it is stored now
	// unconfirmed is not nil if the product is stored, and not all nodes have confirmed that they know: those with which
	// this one shares memory need not.
	unconfirmed error
}

// put stores a product, see [store.put], also for what an error means. With Update no node keeps the product from
// before it is stored until afterwards, so that also a node that is killed in between leaves nothing old in the others.
func (c *catalog) put(ctx context.Context, p product) (saved, error) {
	if c.cache == nil {
		current, err := c.store.put(ctx, p)
		return saved{product: current}, err
	}
	var current product
	var called bool
	var failed error
	err := c.cache.Update(ctx, []int64{p.ID}, func(ctx context.Context) error {
		called = true
		current, failed = c.store.put(ctx, p)
		return failed
	})
	if !called {
		return saved{}, err
	}
	if failed != nil { // then it does not matter which nodes have not confirmed its end
		return saved{product: current}, failed
	}
	return saved{current, err}, nil
}

func (c *catalog) close() error {
	if c.cache == nil {
		return c.store.close()
	}
	return errors.Join(c.cache.Close(), c.store.close())
}
