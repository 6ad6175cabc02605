package lifecycle

import (
	"fmt"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// prober probes the workers that serve, and ends workers that hang.
type prober struct {
	*staff
	probed time.Time // when they were last probed
}

func (p *prober) probeInterval() time.Duration {
	l := liveness{timeout: p.cfg.LivenessTimeout}
	return l.interval()
}

// probeAll probes all workers that serve. A worker that has not answered the last probe has missed the time since the last call;
// it gets no second probe.
func (p *prober) probeAll() {
	elapsed := p.now.Sub(p.probed)
	p.probed = p.now
	for _, w := range p.sorted() {
		switch {
		case w.phase != ready || w.mute:
		case w.asking || !w.isLinked:
			p.do(Measure{w.ID, elapsed})
		default:
			w.asking = true
			p.do(Probe{w.ID})
		}
	}
}

// missed counts a missed answer, and draws the consequences.
func (p *prober) missed(w *worker, elapsed, starved time.Duration) {
	if w.phase != ready {
		return
	}
	w.recordMiss(elapsed, starved)
	if w.isSuspect() && !w.suspect {
		w.suspect = true
		p.do(Suspect{w.ID, true})
		p.note(LevelWarn, w, "worker does not answer: it gets no new connections where they can be steered", control.EventSuspect,
			"does not answer", "silence", round(w.clock))
	}
	if w.isHung() && p.lent == nil {
		p.giveUp(w)
	}
}

func (p *prober) answered(w *worker) {
	w.asking = false
	w.recordAnswer()
	if !w.suspect {
		return
	}
	w.suspect = false
	p.do(Suspect{w.ID, false})
	p.note(LevelInfo, w, "worker answers again", control.EventTrusted, "answers again")
}

// giveUp ends a worker that does not answer. Its slot is filled without waiting for its end.
func (p *prober) giveUp(w *worker) {
	w.hung = fmt.Sprintf("did not answer for %v (it was stopped, or its accept loop is stuck)", round(w.clock))
	w.role = retiring
	w.drained = true // nothing has to wait for it
	p.apply(w, w.hang(p.now))
	p.vacate(w, Exit{})
}
