// Package proctree ends the processes that a program has started together with the program.
//
// A [Tree] is what one process has started, its root: the members of its process group, every process that has the tree's
// mark in its environment or has been noted, and what these have started. A process that has left both the group and the
// environment behind, as a daemon does, is an orphan: [Orphans] finds those, once [Adopt] has made them children of this
// process.
//
// It needs Linux. Elsewhere a tree is its root alone.
package proctree

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Process is a process as it was found. Its start time tells it from another one that has its PID later.
type Process struct {
	PID     int
	Program string // its name, as in /proc/PID/comm

	start uint64 // clock ticks since boot
}

// String names the process, as in "nginx (pid 1234)".
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Program, p.PID) }

// Signal sends a signal to the process. It returns os.ErrProcessDone when that is gone.
func (p Process) Signal(sig syscall.Signal) error { return p.signal(sig) }

// Tree is what a process has started. Its methods may be called at the same time.
type Tree struct {
	root  int
	mark  string
	start uint64 // of root

	mu    sync.Mutex
	noted map[int]uint64 // guarded by mu; processes that were in the tree, and their start
}

// New returns the tree of a process that lives, and that leads a process group, see [Attributes]. mark is part of its
// environment, and of no environment of another tree.
func New(root int, mark string) *Tree {
	return &Tree{root: root, mark: mark, start: startOf(root), noted: make(map[int]uint64)}
}

// Attributes make a process that is started the leader of a process group of its own.
func Attributes() *syscall.SysProcAttr { return attributes() }

// Left returns the processes of the tree that live, without its root.
func (t *Tree) Left() []Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leftLocked()
}

// Note remembers the processes that are in the tree now: they belong to it from now on, whatever they do to leave it.
func (t *Tree) Note() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.leftLocked() {
		t.noted[p.PID] = p.start
	}
}

// Descendants returns the processes that a process has started, and those that these have started.
func Descendants(pid int) []int { return descendants(pid) }

// Orphans returns the children of this process that are in another session than it, and what they have started, but not
// those of which isKnown is true. After [Adopt], the daemons that programs have left behind are among them.
func Orphans(isKnown func(pid int) bool) []Process { return orphans(isKnown) }

// Adopt makes this process the parent of those processes below it whose parents end (PR_SET_CHILD_SUBREAPER, prctl(2)).
// They have to be reaped, see [Reap].
func Adopt() error { return adopt() }

// Reap takes the exits of orphans: of dead children of this process that are in a process group of which isGroup is true,
// or in another session than this process. It leaves those alone of which isKnown is true, as somebody waits for them.
func Reap(isKnown, isGroup func(pid int) bool) { reap(isKnown, isGroup) }

// How often End looks whether they are gone.
const (
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// killTime is how long the kernel has to end a process that was killed.
const killTime = 5 * time.Second

// End asks processes to end, with a signal, and kills those that have not when late is closed. find is asked for them
// again and again, as they may start others: End returns when it finds none, with all that have been found, and with
// those that live still a while after they were killed.
func End(find func() []Process, sig syscall.Signal, late <-chan struct{}) (found, alive []Process) {
	wait, deadline := firstLook, time.Time{}
	seen := make(map[Process]bool)
	for {
		alive = find()
		for _, p := range alive {
			if key := (Process{PID: p.PID, start: p.start}); !seen[key] {
				seen[key] = true
				found = append(found, p)
				_ = p.Signal(sig) // it may be gone, or not ours to signal: then it is found again
			}
			if !deadline.IsZero() {
				_ = p.Signal(syscall.SIGKILL) // as above
			}
		}
		if len(alive) == 0 || !deadline.IsZero() && time.Now().After(deadline) {
			return found, alive
		}
		if deadline.IsZero() && isClosed(late, wait) {
			deadline = time.Now().Add(killTime)
			continue
		}
		if !deadline.IsZero() {
			time.Sleep(wait)
		}
		wait = min(2*wait, lastLook)
	}
}

// isClosed waits a while for c to be closed.
func isClosed(c <-chan struct{}, wait time.Duration) bool {
	select {
	case <-c:
		return true
	case <-time.After(wait):
		return false
	}
}
