package loss

import (
	"sync"
	"time"

	"github.com/multinode-go/multinode/bench/load"
)

// What a request may be lost by.
const (
	killed  = "killed worker"
	stopped = "stopped worker"
	foreign = "stranger"
)

const (
	// grace is how long after the end of a process a client may take to be told by the kernel, and to tell, on a machine
	// with more to do than it can.
	grace = 2 * time.Second
	// notice is how long we may take to see that a process has ended.
	notice = 500 * time.Millisecond
	// dumping is how long a worker that is ended as it hangs may take from SIGQUIT, with which it begins to write what its
	// goroutines do and loses what it had, to its end.
	dumping = 2 * time.Second
)

// victim is a process that was made to fail, or is a stranger: what it had may be lost.
type victim struct {
	what     string
	pid      int
	from, to time.Duration // to is 0 while it goes on
}

// victims are all of a run. The methods may be called at the same time.
type victims struct {
	mu    sync.Mutex
	all   []*victim     // guarded by mu
	slack time.Duration // beyond grace, notice and dumping: as slow as this machine is
}

// add adds one that fails from now on. The function that it returns says that it is gone, or well again.
func (v *victims) add(what string, pid int) (over func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := &victim{what: what, pid: pid, from: load.Now()}
	v.all = append(v.all, one)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		one.to = load.Now()
	}
}

// failing returns those that fail now.
func (v *victims) failing() (pids []int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.all {
		if one.to == 0 {
			pids = append(pids, one.pid)
		}
	}
	return pids
}

// cause returns what a request was lost by, "" if by nothing that we know of.
func (v *victims) cause(f load.Failure) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.all {
		switch {
		case f.PID == one.pid && one.had(f, v.slack):
			return "accepted by a " + one.what
		case f.PID == 0 && one.queued(f, v.slack):
			return "queued at a " + one.what
		}
	}
	return ""
}

// had tells whether a victim may have lost a request of a connection that it had accepted.
func (one *victim) had(f load.Failure, slack time.Duration) bool {
	return f.Failed >= one.from && (one.to == 0 || f.Failed <= one.to+grace+slack)
}

// queued tells whether a victim may have lost a connection that nobody had accepted: it was there when the queue was lost,
// and ended then. That is when the process ended, which we have seen soon after.
func (one *victim) queued(f load.Failure, slack time.Duration) bool {
	lost := one.from
	switch one.what {
	case stopped:
		lost = max(lost, one.to-notice-dumping-slack)
	case foreign:
		lost = max(lost, one.to-notice-slack)
	}
	return one.to > 0 && f.Begun <= one.to && f.Failed >= lost && f.Failed <= one.to+grace+slack
}
