package roles

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer/bus"
)

// A flood is a broadcast of floodSize bytes each floodPause, by a goroutine that fails at the bound of the bus and, if it
// has two sources, by one that waits there. One fills the default bound of a peer that does not read in 0.3 s.
const (
	FloodSize  = 4 << 10
	floodPause = time.Millisecond
)

type flood struct {
	cancel  context.CancelFunc
	sources sync.WaitGroup
	refusal chan struct{} // holds the last refusal
	failure [2]error      // of each source; read when they have ended
}

// floods has one at a time. The end of one waits until all peers have taken what was sent.
func (l *busLeader) floods() actions {
	var f *flood
	return actions{
		FloodOn:    func(o Order) (Result, error) { f = startFlood(l.ctx, l.Bus, o.Senders); return Result{}, nil },
		FloodBound: func(o Order) (Result, error) { return Result{}, f.awaitBound(o.Duration) },
		FloodOff:   func(Order) (Result, error) { return Result{}, errors.Join(f.stop(), l.Flush(l.ctx)) },
	}
}

func startFlood(ctx context.Context, b *bus.Bus, sources int) *flood {
	ctx, cancel := context.WithCancel(ctx)
	f := &flood{cancel: cancel, refusal: make(chan struct{}, 1)}
	for i, full := range []bus.Full{bus.Fail, bus.Block}[:sources] {
		f.sources.Go(func() { f.failure[i] = f.run(ctx, b.WhenFull(full)) }) // until stop
	}
	return f
}

func (f *flood) run(ctx context.Context, b *bus.Bus) error {
	clock := time.NewTicker(floodPause)
	defer clock.Stop()
	data := make([]byte, FloodSize)
	for {
		select {
		case <-clock.C:
		case <-ctx.Done():
			return nil
		}
		err := b.Broadcast(ctx, topicFlood, data)
		switch {
		case errors.Is(err, bus.ErrFull):
			f.refused()
		case err != nil && ctx.Err() == nil:
			return err
		}
	}
}

func (f *flood) refused() {
	select {
	case f.refusal <- struct{}{}:
	default: // there is one
	}
}

// awaitBound returns an error if no broadcast is refused from now on within limit.
func (f *flood) awaitBound(limit time.Duration) error {
	select {
	case <-f.refusal: // before
	default:
	}
	select {
	case <-f.refusal:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("no broadcast was refused: a peer that does not read has not met the bound within %v", limit)
	}
}

func (f *flood) stop() error {
	f.cancel()
	f.sources.Wait()
	return errors.Join(f.failure[:]...)
}
