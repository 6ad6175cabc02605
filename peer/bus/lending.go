package bus

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/peer/bus/internal/kernel"
)

// A goroutine that waits for an answer reads it from the link by itself, since to be woken by the reader wakes another
// thread where a processor is idle, which can double the round trip. The reader lends the reading when only such answers
// come. Between two requests nobody reads, and a poller wakes the reader when something comes.

// proofAlone is how many answers in a row have to come alone before the reader lends.
const proofAlone = 8

// Who reads a link.
const (
	ownReading  = iota // the reader
	freeReading        // nobody: the poller wakes the reader when something comes
	lentReading        // a goroutine that waits for an answer
)

// lending is the reading of a link, as far as it is lent. Whoever reads owns the fields that are not atomic.
type lending struct {
	watch  *watch // of the hub
	stream net.Conn
	poller *kernel.Poller // nil before the first loan
	alone  int            // answers in a row that came alone; below 0, the link cannot lend
	failed error          // what a borrower has met; the reader ends the link with it

	state atomic.Int32
	loans atomic.Uint64 // how often the reading was lent or given back
	seen  uint64        // loans, when the watch has looked last. The watch's
}

// note counts an answer. It came alone if its caller waits for no other, and no other caller waits.
func (s *lending) note(alone bool) {
	switch {
	case s.alone < 0:
	case alone:
		s.alone++
	default:
		s.alone = 0
	}
}

// isDue reports whether the reader is to lend. Without the watch it does not: with a single processor it gains nothing.
func (s *lending) isDue() bool { return s.alone >= proofAlone && s.watch.ticker != nil }

// lend leaves the reading to goroutines that wait for answers, and returns when it is the reader's again.
func (s *lending) lend() {
	if s.poller == nil {
		var err error
		if s.poller, err = kernel.NewPoller(s.stream); err != nil {
			s.alone = -1 // there are no descriptors, or it is not supported
			return
		}
	}
	s.alone = 0
	if !s.poller.Arm() {
		return // the stream is closed
	}
	s.free()
	for s.state.Load() != ownReading {
		if s.poller.Wait() {
			s.state.CompareAndSwap(freeReading, ownReading)
		}
	}
	s.poller.Disarm()
}

// free makes it possible to borrow.
func (s *lending) free() {
	s.loans.Add(1)
	s.state.Store(freeReading)
	s.watch.turnOn()
}

// borrow reports whether the caller is to read now. It has to before it sends a request: the answer would wake the reader.
// It must not wait for anything else until it gives the reading back.
func (s *lending) borrow() bool {
	if s.state.Load() != freeReading || !s.state.CompareAndSwap(freeReading, lentReading) {
		return false
	}
	s.poller.Disarm()
	s.loans.Add(1)
	return true
}

// giveBack ends a loan. The poller is armed after it: the reader would not heed what it sees before.
func (s *lending) giveBack() {
	s.free()
	if !s.poller.Arm() { // the stream is closed
		s.recall()
	}
}

// fail ends a loan with what the reader ends the link with.
func (s *lending) fail(err error) {
	s.failed = err
	s.state.Store(ownReading)
	s.poller.Wake()
}

// recall gives the reading to the reader, if nobody reads.
func (s *lending) recall() {
	if s.state.CompareAndSwap(freeReading, ownReading) {
		s.poller.Wake()
	}
}

// look is called by the watch. It recalls what nobody has borrowed since the last look, and reports whether there was a
// loan: a poller does not see that this process has closed a stream.
func (s *lending) look() bool {
	loans := s.loans.Load()
	if loans != s.seen {
		s.seen = loans
		return true
	}
	s.recall()
	return false
}

// close frees the poller.
func (s *lending) close() {
	if s.poller != nil {
		s.poller.Close()
	}
}

// readFor reads until a group has ended or ctx is done, and gives the reading back, which the caller has borrowed.
func (l *link) readFor(ctx context.Context, g *group) {
	for !g.isOver() {
		err := l.conn.ReceiveBatch(ctx, l.dispatch)
		if in := l.inboxes.deliver(); in != nil {
			l.workers.start(in)
		}
		switch {
		case err == nil, errors.Is(err, framing.ErrInterrupted):
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			l.lending.giveBack()
			return
		default:
			l.lending.fail(err)
			return
		}
	}
	l.lending.giveBack()
}
