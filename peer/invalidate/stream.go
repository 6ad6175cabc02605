package invalidate

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// target is what changes are applied to: the store, for keys that are bytes.
type target interface {
	apply(o wire.Op, data []byte) error
	Flush()
	doubt(keys []string)         // keeps keys blocked that are, for the time that a sent write may take
	Distrust(long time.Duration) // stores nothing for some time
	Distrusts() time.Duration    // how long that is still so
}

// stream is what has come of the changes of one writer.
type stream struct {
	target target

	mu      sync.Mutex
	ended   bool           // guarded by mu; the writer is gone
	session uint64         // guarded by mu; 0: not in step, and nothing is applied
	flushed bool           // guarded by mu; nothing that is stored needs what was missed
	applied uint64         // guarded by mu; the last change
	open    map[string]int // guarded by mu; the keys of the updates that it has begun
	moved   chan struct{}  // guarded by mu; closed when applied or session changes
}

var (
	// errGap is the reason for a flush: something has not come.
	errGap = errors.New("changes are missing")
	// errStranger is for a change of a writer whose stream is not taken up yet.
	errStranger = errors.New("the stream is not in step")
)

func newStream(t target) *stream {
	return &stream{target: t, open: make(map[string]int), moved: make(chan struct{})}
}

// change applies a change. It returns the number up to which the stream is applied, in order, which is to be confirmed
// now and not before. Rule 2 is here.
func (s *stream) change(m wire.Message) (applied uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || s.session == 0 || m.Session != s.session:
		return 0, errStranger
	case m.Seq <= s.applied:
		return s.applied, nil
	case m.Seq != s.applied+1:
		return 0, fmt.Errorf("%w: %d to %d", errGap, s.applied+1, m.Seq-1)
	}
	if err := s.applyLocked(m.Ops); err != nil {
		return 0, err
	}
	s.applied = m.Seq
	s.moveLocked()
	return s.applied, nil
}

func (s *stream) applyLocked(ops []byte) error {
	return wire.EachOp(ops, func(o wire.Op, data []byte) error {
		if err := s.markLocked(o, string(data)); err != nil {
			return err
		}
		return s.target.apply(o, data)
	})
}

// markLocked keeps which updates are open.
func (s *stream) markLocked(o wire.Op, key string) error {
	switch {
	case o == wire.OpBegin:
		s.open[key]++
	case o == wire.OpEnd && s.open[key] == 0:
		return errors.New("end of an update that has not begun")
	case o == wire.OpEnd:
		if s.open[key]--; s.open[key] == 0 {
			delete(s.open, key)
		}
	}
	return nil
}

// sync takes the stream up after a change that is not known here, with the updates that are open.
func (s *stream) sync(m wire.Message) (applied uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, errStranger
	}
	if s.session == m.Session && m.Seq <= s.applied {
		return s.applied, nil
	}
	isNew := s.session == 0 && m.Seq == 0 // who has changed nothing yet: nothing was missed
	if !s.flushed && !isNew {
		s.target.Flush()
	}
	s.flushed = false
	s.closeLocked()
	if err := s.applyLocked(m.Ops); err != nil {
		return 0, err
	}
	s.session, s.applied = m.Session, m.Seq
	s.moveLocked()
	return s.applied, nil
}

// desync is for a stream of which something was missed or not understood: nothing of what is stored can be trusted. Rule 7
// is here. The next round takes the stream up anew.
func (s *stream) desync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.flushed = 0, true
	s.target.Flush()
	s.moveLocked()
}

// end is for a writer that is gone. It returns the keys of the updates that the writer has begun: nobody knows how they end, so
// they stay blocked, once each.
func (s *stream) end() (open []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for key, count := range s.open {
		open = append(open, key)
		s.open[key] = count - 1
	}
	s.closeLocked()
	s.moveLocked()
	return open
}

func (s *stream) closeLocked() {
	for key, count := range s.open {
		for range count {
			_ = s.target.apply(wire.OpEnd, []byte(key)) // it was read at its begin
		}
	}
	clear(s.open)
}

func (s *stream) moveLocked() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// at returns how far the stream is.
func (s *stream) at() (session, applied uint64, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.applied, s.moved
}
