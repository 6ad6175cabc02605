package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
)

func (s *supervisor) probeInterval() time.Duration {
	p := pulse{timeout: s.opts.LivenessTimeout}
	return p.interval()
}

// probeAll feels the pulse of all workers that serve: who owes an answer has missed it for the time since the last call,
// and who does not is asked.
func (s *supervisor) probeAll(now time.Time) {
	elapsed := now.Sub(s.probed)
	s.probed = now
	for _, w := range s.workers {
		if w.phase != ready || w.process == nil || w.foreign != nil {
			continue
		}
		switch {
		case w.asking || w.link == nil:
			s.feel(w, elapsed)
		default:
			w.asking, w.threads = true, proc.ReadThreadTimes(w.info.PID)
			go s.probe(w.info.ID, *w.link)
		}
	}
}

// probe is a goroutine that ends within LivenessTimeout; run may end before.
func (s *supervisor) probe(id int, l protocol.Worker) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.LivenessTimeout)
	defer cancel()
	load, err := l.Probe(ctx)
	s.send(answered{id: id, load: load, err: err})
}

// feel counts a missed answer, and draws the consequences.
func (s *supervisor) feel(w *worker, elapsed time.Duration) {
	threads := proc.ReadThreadTimes(w.info.PID)
	w.pulse.missed(elapsed, threads.StarvedSince(w.threads, elapsed))
	w.threads = threads
	if w.pulse.isSuspect() && !w.suspect {
		w.suspect = true
		s.steering.suspected(w.info.ID, true)
		s.logger.Warn("worker does not answer: it gets no new connections where they can be steered",
			append(w.attrs(), "silence", round(w.pulse.clock))...)
		s.tell(control.EventSuspect, w, "does not answer")
	}
	if w.pulse.isHung() && s.loan == nil {
		s.giveUp(w)
	}
}

func (s *supervisor) handleAnswer(w *worker, a answered) {
	w.asking = false
	if a.err != nil {
		return // in time, or by the end of the link: the pulse goes on to be missed
	}
	w.load = a.load
	w.pulse.answered()
	if !w.suspect {
		return
	}
	w.suspect = false
	s.steering.suspected(w.info.ID, false)
	s.logger.Info("worker answers again", w.attrs()...)
	s.tell(control.EventTrusted, w, "answers again")
}

// giveUp ends a worker that does not answer. Its slot is filled without waiting for its end.
func (s *supervisor) giveUp(w *worker) {
	w.hung = fmt.Sprintf("did not answer for %v (it was stopped, or its accept loop is stuck)", round(w.pulse.clock))
	w.part = retired
	w.endDrain() // nobody is to wait for it
	s.act(w, w.hang(time.Now()))
	s.vacate(w, false)
}
