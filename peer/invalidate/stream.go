package invalidate

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

// target is the store that changes are applied to, with encoded keys.
type target interface {
	apply(o wire.Op, data []byte) error
	Flush()
	doubt(keys []string)         // keeps blocked keys blocked for the commit timeout
	Distrust(long time.Duration) // stores nothing for some time
	Distrusts() time.Duration    // how long nothing is stored from now
}

// stream applies the changes of one writer, in order.
type stream struct {
	target target

	mu      sync.Mutex
	ended   bool           // guarded by mu; the writer is gone
	session uint64         // guarded by mu; 0: not in step, and nothing is applied
	flushed bool           // guarded by mu; the values were dropped after changes were missed
	applied uint64         // guarded by mu; the last change
	open    map[string]int // guarded by mu; the keys of the writer's open updates
	moved   chan struct{}  // guarded by mu; closed when applied or session changes
}

var (
	// errGap: changes have not arrived, so the values are flushed.
	errGap = errors.New("changes are missing")
	// errStranger: the stream of the writer is not synchronized.
	errStranger = errors.New("the stream is not in step")
)

func newStream(t target) *stream {
	return &stream{target: t, open: make(map[string]int), moved: make(chan struct{})}
}

// change applies a change. It returns the number of the last applied change, to be confirmed now and not before. Rule 2 is
// here.
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

// markLocked records the open updates.
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

// sync synchronizes the stream: it goes on after the change with the number of m, with the open updates in m.
func (s *stream) sync(m wire.Message) (applied uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, errStranger
	}
	if s.session == m.Session && m.Seq <= s.applied {
		return s.applied, nil
	}
	isNew := s.session == 0 && m.Seq == 0 // the writer has changed nothing yet: nothing was missed
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

// desync drops all values, since changes of the stream were missed or not understood. Rule 7 is here. The next round
// synchronizes the stream again.
func (s *stream) desync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.flushed = 0, true
	s.target.Flush()
	s.moveLocked()
}

// end ends the stream of a writer that is gone. It returns the keys of the writer's open updates: their outcome is unknown, so
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
			_ = s.target.apply(wire.OpEnd, []byte(key)) // parsing has succeeded at its begin
		}
	}
	clear(s.open)
}

func (s *stream) moveLocked() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// at returns the session and the last applied change, and a channel that is closed when they change.
func (s *stream) at() (session, applied uint64, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.applied, s.moved
}
