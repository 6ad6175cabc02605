package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer/bus"
)

// A flood is a broadcast of floodSize bytes each floodPause, by a goroutine that fails at the bound of the bus and, if it
// has two sources, by one that waits there. One fills the default bound of a peer that does not read in 0.3 s.
const (
	floodSize  = 4 << 10
	floodPause = time.Millisecond
)

// flooder is a leader that can have one.
type flooder interface {
	startFlood(sources int)
	// endFlood says what came of it, and waits until all peers have taken it.
	endFlood() (result, error)
}

var _ flooder = (*busLeader)(nil)

func (l *busLeader) startFlood(sources int) { l.flood = startFlood(l.ctx, l.Bus, sources) }

func (l *busLeader) endFlood() (result, error) {
	r, err := l.flood.stop()
	return r, errors.Join(err, l.Flush(l.ctx))
}

type flood struct {
	cancel  context.CancelFunc
	sources sync.WaitGroup
	sent    [2]int64 // by each source; read when they have ended
	refused int64
	failure [2]error
}

func startFlood(ctx context.Context, b *bus.Bus, sources int) *flood {
	ctx, cancel := context.WithCancel(ctx)
	f := &flood{cancel: cancel}
	for i, full := range []bus.Full{bus.Fail, bus.Block}[:sources] {
		f.sources.Go(func() { f.sent[i], f.failure[i] = f.run(ctx, b.WhenFull(full)) }) // until stop
	}
	return f
}

func (f *flood) run(ctx context.Context, b *bus.Bus) (sent int64, err error) {
	clock := time.NewTicker(floodPause)
	defer clock.Stop()
	data := make([]byte, floodSize)
	for {
		select {
		case <-clock.C:
		case <-ctx.Done():
			return sent, nil
		}
		switch err := b.Broadcast(ctx, topicFlood, data); {
		case err == nil:
			sent++
		case errors.Is(err, bus.ErrFull):
			f.refused++
		case ctx.Err() == nil:
			return sent, err
		}
	}
}

// stop ends the flood and says what came of it.
func (f *flood) stop() (r result, err error) {
	f.cancel()
	f.sources.Wait()
	r.Requests, r.Refused = f.sent[0]+f.sent[1], f.refused
	return r, errors.Join(f.failure[:]...)
}
