package lifecycle

import (
	"fmt"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// role is the role of a worker in its slot.
type role int

const (
	current     role = iota
	replacement      // is to replace the current one, when it is ready
	retiring         // was replaced, or is to leave with its slot
)

// worker is a worker that runs, or that is being started.
type worker struct {
	Info
	state
	liveness
	slot     *slot
	role     role
	began    time.Time
	adopted  bool   // from another master
	greeted  bool   // its listeners are known, if it was adopted
	isLinked bool   // its control stream is there
	known    bool   // it has been
	mute     bool   // it does not talk to us
	failure  string // with which its node ended, by its own word
	hung     string // what it failed to do in time
	drained  bool   // it has closed its listeners
	outcome         // of its boot
}

func (w *worker) String() string {
	return fmt.Sprintf("worker %d (slot %d, pid %d)", w.ID, w.Slot, w.PID)
}

// outcome is whether a worker has become ready.
type outcome struct {
	settled   bool  // it has, or never will
	unsettled error // why it never will
}

// settle sets whether the worker has become ready. Only the first call counts.
func (o *outcome) settle(err error) {
	if !o.settled {
		o.settled, o.unsettled = true, err
	}
}

// timeLeft returns how much time a worker that was asked to leave still has.
func (w *worker) timeLeft(now time.Time) time.Duration {
	return max(0, w.deadline.Sub(now)-stopMargin)
}

func (w *worker) shown() control.State {
	switch {
	case w.phase >= dumping:
		return control.StateHung
	case w.phase == stopping:
		return control.StateDraining
	case w.phase == starting:
		return control.StateStarting
	case w.suspect:
		return control.StateSuspect
	default:
		return control.StateReady
	}
}

func (w *worker) death(e Exit) *control.WorkerError {
	died := &control.WorkerError{
		ID: w.ID, Slot: w.slot.number, Generation: w.Generation, PID: w.PID,
		Ready: w.wasReady(), Reason: e.Reason, LastWords: w.failure,
	}
	if !died.Ready && died.LastWords == "" {
		died.LastWords = e.LastWords
	}
	if w.hung != "" {
		died.Reason = w.hung + ", ended by us: " + died.Reason
	}
	return died
}
