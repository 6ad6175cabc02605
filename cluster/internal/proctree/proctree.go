// Package proctree ends a process of a program together with its descendants.
//
// A [Tree] has a root process. It contains the members of the root's process group, every process that has the tree's mark in its
// environment or has been noted, and the descendants of all of them. A process that has left both the group and the environment,
// as a daemon does, is an orphan: [Orphans] finds those, once [Adopt] has made them children of this process.
//
// It needs Linux. Elsewhere a tree is its root alone.
package proctree

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Process is a process as it was found. Its start time distinguishes it from a later process with the same PID.
type Process struct {
	PID     int
	Program string // its name, as in /proc/PID/comm

	start uint64 // clock ticks since boot
}

// String names the process, as in "nginx (pid 1234)".
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Program, p.PID) }

// Signal sends a signal to the process. It returns os.ErrProcessDone when that is gone.
func (p Process) Signal(sig syscall.Signal) error { return p.signal(sig) }

// Tree is a process and its descendants. Its methods may be called at the same time.
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

// Note remembers the processes that are in the tree now: from now on they belong to it, even if they leave the group.
func (t *Tree) Note() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.leftLocked() {
		t.noted[p.PID] = p.start
	}
}

// Descendants returns the children of a process, their children, and so on.
func Descendants(pid int) []int { return descendants(pid) }

// Orphans returns the children of this process that are in another session than it, and their descendants, except those that
// isKnown. After [Adopt], the daemons that programs have left behind are among them.
func Orphans(isKnown func(pid int) bool) []Process { return orphans(isKnown) }

// Adopt makes this process the parent of those processes below it whose parents end (PR_SET_CHILD_SUBREAPER, prctl(2)).
// They have to be reaped, see [Reap].
func Adopt() error { return adopt() }

// Reap takes the exits of orphans: of dead children of this process that are in a process group that isGroup, or in another
// session than this process. It skips children that isKnown, as another goroutine waits for them.
func Reap(isKnown, isGroup func(pid int) bool) { reap(isKnown, isGroup) }

// How often End looks whether they are gone.
const (
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// killTime is how long the kernel has to end a process that was killed.
const killTime = 5 * time.Second

// End asks processes to end, with a signal, and kills those that are left when late is closed. It calls find again and again, as
// the processes may start others, and returns when find returns none. found has all processes that were found, alive those that
// are still alive a while after they were killed.
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
