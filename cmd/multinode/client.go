package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

const (
	askTimeout = 5 * time.Second // for what a master answers at once
	askAgain   = 100 * time.Millisecond
)

// client talks to the master of a cluster.
type client struct {
	*control.Client
	target
	places places // to say what else runs
}

func newClient(t target, p places) *client { return &client{control.NewClient(t.dir), t, p} }

// status returns what the master knows, also as it was sent.
//
// A master that is just starting is asked again, for askTimeout in all.
func (c *client) status(ctx context.Context) (status control.Status, text []byte, err error) {
	begin := time.Now()
	short, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var starting error // as it has answered
	for again := true; again; {
		status, text, err = c.StatusJSON(short)
		if again = errors.Is(err, control.ErrNoAPI); again {
			starting = err
			again = pause(short, askAgain)
		}
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = cmp.Or(starting, c.silent(time.Since(begin), err))
	}
	return status, text, c.explain(ctx, err)
}

// order gives an order, and waits for it as w says.
func (c *client) order(ctx context.Context, o order, w control.Waiting) error {
	return c.explain(ctx, o.give(c.Client, ctx, w))
}

// stop begins the stop.
func (c *client) stop(ctx context.Context) error { return c.explain(ctx, c.Stop(ctx)) }

// events returns the events behind one, or with fromNow those to come.
func (c *client) events(ctx context.Context, after int) (*control.EventStream, error) {
	stream, err := c.Events(ctx, after)
	return stream, c.explain(ctx, err)
}

// explain says which cluster an error is of, and gives it its exit code.
func (c *client) explain(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, control.ErrNotRunning):
		return c.places.notRunning(ctx, c.target, err)
	case errors.Is(err, control.ErrNoAPI):
		return fmt.Errorf("the master of cluster %s%s: %w", c.name, describeMaster(c.owner()), err)
	}
	refused, ok := errors.AsType[*control.Error](err)
	switch {
	case !ok:
		return fmt.Errorf("cluster %s: %w", c.name, err)
	case refused.Code == http.StatusBadRequest:
		return failure(codeUsage, err)
	case refused.Code == http.StatusConflict:
		return failure(codeBusy, err)
	default:
		return err
	}
}

const fromNow = control.FromNow

// follow sends what happens to a channel, which it closes at the end of the stream.
func follow(ctx context.Context, stream *control.EventStream, events chan<- control.Event) {
	defer close(events)
	for {
		e, err := stream.Next()
		if err != nil {
			return
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
	}
}
