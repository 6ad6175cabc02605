//go:build linux

package loss

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What a request may be lost by.
const (
	killed  = "killed worker"
	stopped = "stopped worker"
	foreign = "stranger"
)

// grace is how long after the end of a process a client may take to be told by the kernel, and to tell.
const grace = time.Second

// victim is a process that was made to fail, or is a stranger: what it had may be lost.
type victim struct {
	what     string
	pid      int
	from, to time.Duration // to is 0 while it goes on
}

// victims are all of a run. The methods may be called at the same time.
type victims struct {
	mu  sync.Mutex
	all []*victim // guarded by mu
}

func (v *victims) add(what string, pid int) *victim {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := &victim{what: what, pid: pid, from: now()}
	v.all = append(v.all, one)
	return one
}

// over says that a victim is gone, or well again.
func (v *victims) over(one *victim) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one.to = now()
}

// open tells whether somebody is failing now.
func (v *victims) open(pid int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.all, func(one *victim) bool { return one.pid == pid && one.to == 0 })
}

func (v *victims) failing() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.all {
		if one.to == 0 {
			n++
		}
	}
	return n
}

// cause returns what a request was lost by, "" if by nothing that we know of. A connection that somebody has accepted is
// his; any other one must have been opened before, and have ended after, the moment at which a queue was lost.
func (v *victims) cause(f failed) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.all {
		to := one.to
		if to == 0 {
			to = f.End
		}
		if f.End < one.from || f.Start > to+grace || f.End > to+grace+lateBy(one, f) {
			continue
		}
		switch f.PID {
		case one.pid:
			return "accepted by a " + one.what
		case 0:
			return "queued at a " + one.what
		}
	}
	return ""
}

// lateBy is how much longer a client may take to notice: one that has sent its SYN to a queue that was full, or was lost
// with its handshake, sends it again after 1, 3 and 7 s.
func lateBy(one *victim, f failed) time.Duration {
	if f.Connected == 0 && one.what == stopped {
		return requestTimeout
	}
	return 0
}

// isGone tells whether a process has ended, reaped or not.
func isGone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	after := bytes.LastIndexByte(stat, ')') // the name may hold anything
	return after < 0 || bytes.HasPrefix(stat[after+1:], []byte(" Z")) || bytes.HasPrefix(stat[after+1:], []byte(" X"))
}

// awaitGone returns false when the process lives on.
func awaitGone(pid int, within time.Duration) bool {
	for end := time.Now().Add(within); !isGone(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// send sends a signal to a process that may be gone.
func send(pid int, sig unix.Signal) { _ = unix.Kill(pid, sig) }
