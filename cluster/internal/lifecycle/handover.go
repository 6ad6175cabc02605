package lifecycle

import (
	"errors"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/errline"
)

// Word is a message between the two masters of a takeover. The predecessor hangs up when it has left the cluster to its
// successor. Until then the successor is on probation: it returns all when it is told to stop, or fails.
//
//	successor      prepared ->                 done ->
//	predecessor                 <- go                    hangs up
//
// Called off after go, by either of the two:
//
//	successor              leave or stop ->    back ->
//	predecessor    <- no                                 goes on
type Word string

// The words.
const (
	WordPrepared Word = "prepared" // successor: my program runs up to Listen, and I wait for the lock
	WordGo       Word = "go"       // predecessor: the lock is free
	WordDone     Word = "done"     // successor: I am the master, and ready
	WordNo       Word = "no"       // predecessor: the takeover is called off
	WordStop     Word = "stop"     // successor: I was told to stop, so the cluster is to stop; I return all
	WordLeave    Word = "leave"    // successor: I return all
	WordBack     Word = "back"     // successor: I am no longer a master, and the lock is free
)

// Events of a successor, the process that a takeover has started.
type (
	// SuccessorStarted says that StartSuccessor was carried out. Err is why it could not be.
	SuccessorStarted struct {
		PID int
		Err error
	}
	// SuccessorSaid says that the successor has sent a word.
	SuccessorSaid struct {
		PID  int
		Word Word
	}
	// SuccessorHungUp says that the successor has closed its line.
	SuccessorHungUp struct{ PID int }
	// SuccessorEnded says that the process has ended. Err says how; nil: with exit code 0.
	SuccessorEnded struct {
		PID int
		Err error
	}
	// Lend says that the successor may have the workers from now on. LastID is the last id that was used.
	Lend struct{ LastID int }
	// Lent says that LendAll was carried out, or Err is why it could not be. Free: the lock is free.
	Lent struct {
		Free bool
		Err  error
	}
	// Deposed says whether the successor is the master now: it is not if the cluster was told to stop before.
	Deposed struct{ OK bool }
	// Regained says that Regain was carried out. LastID is the last id that the successor has used. Lost: yet another process is the
	// master. Err is what has failed.
	Regained struct {
		LastID int
		Lost   bool
		Err    error
	}
	// Hurry says that a takeover is to take no more time, as the cluster is to end at once.
	Hurry struct{}
)

// Actions of a takeover.
type (
	// StartSuccessor starts the program as a master in waiting. The result is SuccessorStarted, and then the other events of a
	// successor.
	StartSuccessor struct{}
	// Say a word to the successor.
	Say struct{ Word Word }
	// LendAll leaves workers, ports and lock to the successor. The results are Lend, when it begins, and Lent at the end.
	LendAll struct{}
	// StopLending ends LendAll early.
	StopLending struct{}
	// Depose makes the successor the master, unless the cluster was told to stop. The result is Deposed.
	Depose struct{}
	// HandedOver says that the successor is the master, and this machine is over.
	HandedOver struct{}
	// SignalSuccessor asks the successor to end, by SIGTERM.
	SignalSuccessor struct{}
	// KillSuccessor kills it.
	KillSuccessor struct{}
	// Regain takes back what was lent: nothing, workers and ports, or the lock as well. The result is Regained.
	Regain struct{ Lent, Free bool }
	// HangUp ends the connection to a successor whose process has ended.
	HangUp struct{}
	// StopAll begins the stop of the cluster, as the successor was told to stop.
	StopAll struct{}
	// Settled says that the cluster stops, and no successor has our workers and ports, or will get them.
	Settled struct{}
)

// How long a successor may take, when a takeover is called off, for each step of its way out.
const (
	noTimeout   = 500 * time.Millisecond // from no to leave, which takes no signal
	wordTimeout = 5 * time.Second        // from the signal to leave, or to its end
	reapMargin  = time.Second            // for a successor that returns all, beyond its own timeout
)

type handoverPhase int

const (
	noHandover handoverPhase = iota
	launching                // the successor is being started
	preparing                // its program runs up to Listen
	lending                  // it gets the workers, the ports and the lock
	trying                   // it becomes the master
	deposing                 // it is, unless the cluster stops
	refusing                 // it has got a no
	signaled                 // it was asked to end by a signal
	returning                // it returns all
	killed                   // it was killed
	regaining                // we take back
	reaping                  // it has given back, and ends
)

// handover is a takeover as the master sees it that is to be replaced: from the start of its successor until that is the master,
// or has ended.
type handover struct {
	*staff
	custody *custody

	phase    handoverPhase
	limit    time.Time   // of the phase; zero: it has none
	patience time.Time   // when the successor has to be the master
	done     func(error) // called at the end
	why      error       // the takeover is called off; nil: it is not
	hurried  bool
	process  successor
	regained error // why something could not be taken back
}

// successor is its process, as it is known.
type successor struct {
	pid      int
	free     bool // it may have the lock
	leaving  bool // it has said that it returns all
	back     bool // it has given back
	hungUp   bool
	killed   bool
	signaled bool // in its last phase
	ended    bool
	end      error
}

// begin begins a takeover, which calls done at its end.
func (h *handover) begin(done func(error)) {
	*h = handover{
		staff: h.staff, custody: h.custody, phase: launching, patience: h.now.Add(h.cfg.BootTimeout), done: done,
	}
	h.tell("handing over to a successor", control.EventHandingOver, h.cfg.MasterID, h.cfg.MasterPID)
	h.do(StartSuccessor{})
}

// tell logs a text, and emits it as an event about a master.
func (h *handover) tell(text string, kind control.EventKind, id, pid int, attrs ...any) {
	h.do(Note{Text: text, Attrs: attrs, Event: control.Event{Kind: kind, ID: id, PID: pid}})
}

// holds reports whether a successor has our workers and ports, or may still get them.
func (h *handover) holds() bool { return h.phase != noHandover && h.phase != reaping }

// handle processes an event of the successor.
func (h *handover) handle(e Event) {
	switch e := e.(type) {
	case SuccessorStarted:
		h.started(e)
	case SuccessorSaid:
		if h.isOurs(e.PID) {
			h.said(e.Word)
		}
	case SuccessorHungUp:
		if h.isOurs(e.PID) {
			h.hungUp()
		}
	case SuccessorEnded:
		if h.isOurs(e.PID) {
			h.process.ended, h.process.end = true, e.Err
			h.callOff(errors.New("it has ended"))
		}
	case Lend:
		h.custody.lend(e.LastID)
	case Lent:
		h.gave(e)
	case Regained:
		h.took(e)
	}
}

// isOurs reports whether a process is the successor of this takeover, and not of an earlier one.
func (h *handover) isOurs(pid int) bool { return h.phase != noHandover && h.process.pid == pid }

func (h *handover) hungUp() {
	h.process.hungUp = true
	if h.phase <= trying || h.phase == reaping {
		h.enter(h.phase, 0)
	}
}

func (h *handover) started(e SuccessorStarted) {
	if e.Err != nil {
		h.phase = noHandover
		h.done(fmt.Errorf("takeover: the successor cannot be started, this master continues: %w", e.Err))
		return
	}
	h.process.pid = e.PID
	h.enter(preparing, 0)
	if h.why != nil {
		h.refuse()
	}
}

func (h *handover) said(word Word) {
	switch p := &h.process; word {
	case WordPrepared:
		if h.phase == preparing {
			h.enter(lending, 0)
			h.do(LendAll{})
		}
	case WordDone:
		if h.phase == trying {
			h.enter(deposing, 0)
			h.do(Depose{})
		}
	case WordStop:
		p.leaving = true
		if h.phase <= trying && h.why == nil {
			h.do(Note{Text: "stopping, as the successor was told to", Attrs: []any{"pid", p.pid}})
			h.do(StopAll{})
			h.callOff(control.ErrStopping)
		}
	case WordLeave:
		p.leaving = true
		h.callOff(errors.New("it gives up"))
	case WordBack:
		p.leaving, p.back = true, true
	case WordGo, WordNo: // ours to say
	}
}

// gave is the end of LendAll.
func (h *handover) gave(e Lent) {
	h.process.free = e.Free
	h.enter(trying, 0)
	switch {
	case h.why != nil:
		h.refuse()
	case e.Err != nil:
		h.callOff(e.Err)
	default:
		h.do(Say{WordGo})
	}
}

func (h *handover) deposed(ok bool) {
	if !ok {
		h.enter(trying, 0)
		h.callOff(control.ErrStopping)
		return
	}
	pid := h.process.pid
	h.tell("handed over", control.EventHandedOver, -1, pid, "successor", pid)
	h.phase = noHandover
	h.do(HandedOver{})
	h.done(nil)
}

// callOff ends a takeover that has not succeeded yet: the successor returns all, and this master continues. Only the first reason
// counts.
func (h *handover) callOff(why error) {
	if h.phase == noHandover || h.phase > trying || h.why != nil {
		return
	}
	if p := h.process; p.ended && p.end != nil {
		why = fmt.Errorf("process %d: %w (%w)", p.pid, p.end, why)
	}
	h.why = why
	switch h.phase {
	case preparing, trying:
		h.refuse()
	case lending:
		h.do(StopLending{})
	default: // it ends when the successor is started
	}
}

// refuse tells the successor that it does not become the master.
func (h *handover) refuse() {
	if !h.process.free {
		h.signal()
		return
	}
	h.do(Say{WordNo})
	h.enter(refusing, noTimeout)
}

func (h *handover) signal() {
	if h.process.leaving {
		h.enter(returning, h.cfg.LeaveTimeout+wordTimeout)
		return
	}
	h.do(SignalSuccessor{})
	h.enter(signaled, wordTimeout)
}

func (h *handover) kill() {
	h.process.killed = true
	h.do(Note{Level: LevelWarn, Text: "successor is killed", Attrs: []any{"pid", h.process.pid}})
	h.do(KillSuccessor{})
}

// enter begins a phase with a limit, or with none, 0. A successor that has hung up is about to end, and how says more.
func (h *handover) enter(p handoverPhase, limit time.Duration) {
	if h.process.hungUp && (p <= trying || p == reaping) {
		limit = wordTimeout
	}
	h.phase, h.limit = p, time.Time{}
	if limit > 0 {
		h.limit = h.now.Add(limit)
	}
}

// took is the end of Regain.
func (h *handover) took(e Regained) {
	h.regained = e.Err
	if !e.Lost {
		h.custody.takeUp(e.LastID)
	}
	p := &h.process
	if p.killed && p.free && h.ending && !h.hurried {
		h.late = append(h.late, fmt.Sprintf("successor (pid %d) did not return all in time and was killed", p.pid))
	}
	h.enter(reaping, h.cfg.StopTimeout+reapMargin)
}

// advance continues as far as possible.
func (h *handover) advance() {
	for before := noHandover; before != h.phase; {
		before = h.phase
		h.step()
	}
}

func (h *handover) step() {
	p := &h.process
	isLate := !h.limit.IsZero() && !h.now.Before(h.limit)
	isGone := p.back || p.ended
	switch h.phase {
	case launching, preparing, lending, trying:
		if !h.now.Before(h.patience) {
			h.callOff(fmt.Errorf("it was not the master, and ready, within %v", h.cfg.BootTimeout))
		} else if isLate {
			h.callOff(errors.New("it has closed the connection to its predecessor"))
		}
	case refusing, signaled, returning:
		switch {
		case isGone:
			h.regain()
		case h.hurried, isLate && h.phase == returning, isLate && h.phase == signaled && !p.leaving:
			h.kill()
			h.enter(killed, 0)
		case h.phase == refusing && (isLate || p.leaving):
			h.signal()
		case h.phase == signaled && p.leaving && (isLate || p.free):
			h.enter(returning, h.cfg.LeaveTimeout+wordTimeout)
		}
	case killed:
		if p.ended {
			h.regain()
		}
	case reaping:
		h.reap(isLate)
	case noHandover, deposing, regaining: // an answer is on its way
	}
}

func (h *handover) regain() {
	h.enter(regaining, 0)
	h.do(Regain{Lent: h.lent != nil, Free: h.process.free})
}

// reap waits for the end of a successor that has returned all, whose requests in flight finish. Its node hangs up when it has
// ended; a program that still runs then is ended by a signal, which the node no longer handles.
func (h *handover) reap(isLate bool) {
	p := &h.process
	switch {
	case p.ended:
		h.do(HangUp{})
		h.finish()
	case p.killed:
	case h.hurried, isLate && (!p.hungUp || p.signaled):
		h.kill()
		h.limit = time.Time{}
	case isLate:
		p.signaled = true
		h.do(SignalSuccessor{})
		h.limit = h.now.Add(h.cfg.StopTimeout)
	}
}

func (h *handover) finish() {
	h.phase = noHandover
	err := errline.Join(h.why, h.regained)
	if !errors.Is(h.why, control.ErrStopping) {
		err = fmt.Errorf("takeover: the successor has failed, this master continues: %w", err)
	}
	h.done(err)
}

// next returns when the next Tick is due at the latest, zero: never.
func (h *handover) next() time.Time {
	switch {
	case h.phase == noHandover, h.phase <= trying && h.why != nil:
		return time.Time{}
	case h.phase <= trying && (h.limit.IsZero() || h.patience.Before(h.limit)):
		return h.patience
	default:
		return h.limit
	}
}
