//go:build linux

package ways

import (
	"fmt"
	"slices"
	"syscall"
	"time"
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
	_ = s.in.Close()
	if s.plan.end != 0 {
		_ = s.cmd.Process.Signal(s.plan.end) // it may have ended
	}
	if all[0].pid != s.main() { // it was killed, and has left its workers
		signalAll(all, syscall.SIGTERM)
	}
	clean := awaitGone(all, stopWithin)
	signalAll(s.family(), syscall.SIGKILL) // also one that was started meanwhile
	<-s.ended
	if !clean {
		return fmt.Errorf("it did not end in %v and was killed", stopWithin)
	}
	return nil
}

func signalAll(all []process, signal syscall.Signal) {
	for _, p := range all {
		_ = syscall.Kill(p.pid, signal) // it may have ended
	}
}

func awaitGone(all []process, within time.Duration) bool {
	for end := time.Now().Add(within); slices.ContainsFunc(all, process.runs); time.Sleep(glance) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
