package lifecycle

import (
	"fmt"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

func (s *staff) exited(w *worker, e Exit) {
	delete(s.workers, w.ID)
	s.do(Gone{w.ID})
	w.drained = true
	died := w.death(e)
	w.slot.lastExit = died.Reason
	attrs := []any{"reason", died.Reason}
	if !w.adopted { // its start was not seen here
		attrs = append(attrs, "lived", round(s.now.Sub(w.began)))
	}
	if e.Left != "" {
		attrs = append(attrs, "ended_with_it", e.Left)
	}
	if e.Alive != "" {
		attrs = append(attrs, "still_alive", e.Alive)
	}
	switch {
	case w.asked:
		s.note(LevelInfo, w, "worker left", control.EventLeft, died.Reason, attrs...)
		w.settle(fmt.Errorf("it was told to leave before it was ready: %w", died))
	case w.role == retiring: // given up: its slot is filled already
		s.note(LevelWarn, w, "worker died", control.EventDied, died.Reason, append(attrs, "was_ready", died.Ready)...)
		if s.cfg.DisableRestart {
			s.giveUpIfEmpty(died)
		}
	case w.role == replacement:
		s.replacementDied(w, e, died, attrs)
	default:
		s.currentDied(w, e, died, attrs)
	}
}

// replacementDied keeps the worker that was to be replaced.
func (s *staff) replacementDied(w *worker, e Exit, died *control.WorkerError, attrs []any) {
	s.note(LevelWarn, w, "worker died; it was to replace another", control.EventDied, died.Reason,
		append(attrs, "was_ready", died.Ready, "last_words", died.LastWords)...)
	if e.Fatal != nil {
		w.settle(fmt.Errorf("%w (%v: %s)", e.Fatal, w, died.Reason))
	} else {
		w.settle(died)
	}
	if s.workerIn(w.slot, current) == nil { // it has died as well
		s.vacate(w, e)
	}
}

// currentDied fills the slot again, as its rules say.
func (s *staff) currentDied(w *worker, e Exit, died *control.WorkerError, attrs []any) {
	byItself := e.Done && died.Ready
	wasLooping := w.slot.looping
	s.vacate(w, e)
	restartIn := []any{"restart_in", round(w.slot.next.Sub(s.now))}
	if byItself && !s.cfg.DisableRestart {
		s.note(LevelInfo, w, "worker left by itself", control.EventLeft, "by itself", append(attrs, restartIn...)...)
		return
	}
	event := func(level Level, text string, more ...any) {
		s.note(level, w, text, control.EventDied, died.Reason, append(attrs, more...)...)
	}
	if e.Fatal != nil && !w.slot.everReady { // nothing is lost that has been there
		event(LevelError, "worker died, and others would die like it: the cluster stops")
		s.fail(e.Fatal)
		return
	}
	if e.Fatal != nil {
		attrs = append(attrs, "cause", e.Fatal)
	}
	if died.LastWords != "" {
		attrs = append(attrs, "last_words", died.LastWords)
	}
	attrs = append(attrs, "was_ready", died.Ready)
	switch {
	case s.cfg.DisableRestart:
		event(LevelWarn, "worker died; its slot stays empty, restarting is disabled")
		s.giveUpIfEmpty(died)
	case w.slot.looping && !s.anyEverReady():
		event(LevelError, "worker died")
		s.fail(fmt.Errorf("no worker has ever become ready, and slot %d has failed %d times: %w", w.slot.number, crashLimit, died))
	case w.slot.looping && !wasLooping:
		event(LevelError, "worker died; its slot is crash-looping", restartIn...)
	default:
		event(LevelWarn, "worker died", restartIn...)
	}
}

// vacate frees the slot of a worker that is gone or given up. If there is a replacement, it becomes the current worker.
func (s *staff) vacate(w *worker, e Exit) {
	w.slot.died(s.now, w.readyAt, e.Done && w.wasReady(), e.Jitter)
	switch {
	case s.cfg.DisableRestart:
		w.slot.close()
	case s.workerIn(w.slot, replacement) != nil:
		w.slot.next = time.Time{}
	}
}

// giveUpIfEmpty ends a cluster that can no longer serve: no slot is filled, and the master does not listen.
func (s *staff) giveUpIfEmpty(died *control.WorkerError) {
	if len(s.workers) == 0 && len(s.starting) == 0 && (!s.cfg.MasterAccepts || !s.anyEverReady()) {
		s.fail(fmt.Errorf("no worker is left, and restarting is disabled: %w", died))
	}
}
