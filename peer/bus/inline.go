package bus

import (
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/peer/bus/internal/kernel"
)

// The reader itself calls a handler that is known to be quick. Handing a message to a worker wakes another thread where a
// processor is idle, which can double the round trip of a request. The link is not read meanwhile, so the watch looks at
// the reader: if the handler does not return soon, another goroutine takes over the reading, and readers do not call the
// handler for long.
const (
	// quick is how long a quick handler takes at most. It keeps the other topics of its sender waiting for that time.
	quick = 50 * time.Microsecond
	// proof is how many calls in a row have to be quick, and lateProof how many after a reader was taken over.
	proof     = 32
	lateProof = 4096
	// sampling is how many calls by the reader there are to one whose time is taken.
	sampling = 16
	// patience is the time until the reading is taken over, and up to twice as long. It is also the interval at which the
	// process wakes while messages come: with 1 ms, 16 processes on two processors lost a quarter of their time.
	patience = 10 * time.Millisecond
)

// watch takes over the reading of links whose readers are held up by handlers.
type watch struct {
	ticker *kernel.Ticker // nil: there is none, and no reader calls handlers
	on     atomic.Bool
}

// startWatch makes it possible that readers call handlers. With a single processor it gains next to nothing.
func (h *hub) startWatch() {
	ticker, err := kernel.NewTicker()
	if err != nil {
		h.opts.Logger.Debug("handlers are not called by readers", "reason", err)
		return
	}
	h.watch.ticker = ticker
	h.running.Go(func() { ticker.Run(h.tick) }) // ended by shutdown
}

// tick is called while readers call handlers.
func (h *hub) tick() {
	if h.look() > 0 {
		return
	}
	h.watch.on.Store(false)
	h.watch.ticker.Set(0)
	if h.look() > 0 { // one has begun in between, and taken the watch for on
		h.watch.turnOn()
	}
}

// look looks at all readers, and returns how many have called handlers since the last look. It takes over from a reader
// that has been in one call since then.
func (h *hub) look() (busy int) {
	h.links.each(func(l *link) {
		turn := l.turn.Load()
		if turn != l.seen {
			busy++
		} else if turn%2 == 1 {
			l.takeOver(turn)
		}
		l.seen = turn
		if l.lending.look() {
			busy++
		}
	})
	return busy
}

func (w *watch) close() {
	if w.ticker != nil {
		w.ticker.Close()
	}
}

func (w *watch) turnOn() {
	if !w.on.Load() && !w.on.Swap(true) {
		w.ticker.Set(patience)
	}
}

// callInline handles what is in an inbox in place of a worker. It returns false if the caller is no longer the reader.
func (l *link) callInline(in *inbox) bool {
	turn := l.turn.Add(1)
	l.hub.watch.turnOn()
	returned := false
	defer func() {
		if !returned { // the handler has called runtime.Goexit
			l.workers.launch(in)
			l.takeOver(turn)
		}
	}()
	if turn/2%sampling == 0 {
		in.runTimed()
	} else {
		in.run()
	}
	returned = true
	if l.turn.CompareAndSwap(turn, turn+1) {
		return true
	}
	in.queue.distrust()
	return false
}

// takeOver gives the reading to another goroutine, if it is still that turn.
func (l *link) takeOver(turn uint64) {
	if l.turn.CompareAndSwap(turn, turn+1) {
		l.hub.running.Go(l.read) // ends with the link
	}
}
