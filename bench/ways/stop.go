//go:build linux

package ways

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/internal/proc"
)

// stopWithin is how long a server may take to finish what it has begun, or it hangs: no bound for its speed.
const stopWithin = 5 * time.Minute

// halt ends all processes, and returns an error when they had to be killed.
func (s *Server) halt() error {
	all := s.family()
	if len(all) == 0 {
		return nil
	}
	signalAll(all, syscall.SIGCONT) // whom the caller has stopped
	s.process.End(s.plan.end)
	if all[0].PID != s.main() { // it was killed, and has left its workers
		signalAll(all, syscall.SIGTERM)
	}
	clean := awaitGone(all, stopWithin)
	signalAll(s.family(), syscall.SIGKILL) // also one that was started meanwhile
	<-s.process.Ended()
	if !clean {
		return fmt.Errorf("it did not end in %v and was killed", stopWithin)
	}
	return nil
}

func signalAll(all []procfs.ProcStat, signal syscall.Signal) {
	for _, p := range all {
		_ = syscall.Kill(p.PID, signal) // it may have ended
	}
}

func awaitGone(all []procfs.ProcStat, within time.Duration) bool {
	for end := time.Now().Add(within); slices.ContainsFunc(all, proc.Runs); time.Sleep(glance) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
