package pid1

import (
	"fmt"
	"syscall"
	"time"
)

// The rules by which the init starts the program again.
const (
	firstDelay   = 100 * time.Millisecond
	longestDelay = 10 * time.Second
	stableAfter  = 10 * time.Second // ready for so long: the crashes before are forgotten
	// failureLimit is how many starts in a row may end before they were ready. With the delays between them that is half a
	// minute, the time for which workers wait for a new master by default.
	failureLimit = 10
)

// word begins a line of the pipe to the init. A process id follows.
type word string

const (
	wordReady    word = "ready"
	wordStopping word = "stopping"
	wordHeir     word = "heir"
	wordExited   word = "exited" // said by the init itself, when it has reaped; the wait status follows
)

// exit is how a process ended.
type exit struct {
	code   int // signaled and the number of the signal, for a process that was killed
	signal syscall.Signal
}

// signaled is added to the number of a signal, as shells do.
const signaled = 128

func (e exit) String() string {
	if e.signal != 0 {
		return fmt.Sprintf("signal: %v", e.signal)
	}
	return fmt.Sprintf("exit code %d", e.code)
}

// isStop reports whether the process ended because it was asked to: before it handles signals, or by a second one.
func (e exit) isStop() bool { return e.signal == syscall.SIGTERM || e.signal == syscall.SIGINT }

// rules decides the next step of the init: a state machine without clock or process.
type rules struct {
	main   int          // the process that is the master; 0: none runs
	heir   int          // takes its place when that dies; 0: none
	former map[int]bool // have been replaced by an heir, and still drain

	everReady bool
	ready     time.Time // since when main is; zero: not yet
	stopping  bool      // main is
	crashes   int       // in a row of masters that did not stay ready for stableAfter
	failures  int       // in a row of masters that were not even ready

	next   time.Time // of the next start; zero: none is due
	ending bool
	code   int  // with which the init ends
	orphan bool // no master has stopped the workers
}

func newRules() *rules { return &rules{former: make(map[int]bool)} }

// started notes that the program runs.
func (r *rules) started(pid int) { r.become(pid); r.next = time.Time{} }

func (r *rules) become(pid int) { r.main, r.ready, r.stopping = pid, time.Time{}, false }

// told handles a word of a process.
func (r *rules) told(w word, pid int, now time.Time) {
	switch w {
	case wordHeir:
		r.heir = pid
	case wordStopping:
		r.stopping = r.stopping || pid == r.main
	case wordReady:
		r.takeOver(pid)
		r.everReady, r.ready, r.failures = true, now, 0
	case wordExited:
	}
}

// takeOver makes a process the master: the heir, or the master that has failed to hand over to it.
func (r *rules) takeOver(pid int) {
	r.heir = 0
	if pid == r.main {
		return
	}
	again := r.former[pid]
	delete(r.former, pid)
	if !again && r.main != 0 {
		r.former[r.main] = true
	}
	r.become(pid)
}

// exited handles the exit of a child of the init. isChild reports whether a process is a child of the init.
func (r *rules) exited(pid int, e exit, now time.Time, isChild func(pid int) bool) {
	delete(r.former, pid)
	switch {
	case r.ending:
	case pid == r.heir:
		r.heir = 0
	case pid != r.main:
	case r.heir != 0 && isChild(r.heir): // it is now that the father is dead
		heir := r.heir
		r.heir = 0
		r.become(heir)
	default:
		r.died(e, now)
	}
}

// died decides what follows from the end of the master.
func (r *rules) died(e exit, now time.Time) {
	wasReady, stopping := !r.ready.IsZero(), r.stopping
	if wasReady && now.Sub(r.ready) >= stableAfter {
		r.crashes = 0
	}
	if !wasReady {
		r.failures++
	}
	r.become(0)
	r.code = e.code
	if stopping || e.code == 0 || e.isStop() || !r.everReady || r.failures >= failureLimit {
		r.ending = true
		hasStopped := stopping && (e.signal == 0 || e.isStop()) || e.code == 0
		r.orphan = r.everReady && !hasStopped
		return
	}
	r.next = now.Add(r.delay())
	r.crashes++
}

// delay returns how long to wait before the next start. The first is at once.
func (r *rules) delay() time.Duration {
	switch doublings := r.crashes - 1; {
	case doublings < 0:
		return 0
	case doublings > 10: // more would overflow some day
		return longestDelay
	default:
		return min(firstDelay<<doublings, longestDelay)
	}
}

// stop handles a signal to stop while no master runs that could handle it.
func (r *rules) stop() { r.ending, r.orphan, r.next = true, true, time.Time{} }
