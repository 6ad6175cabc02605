package control

import (
	"fmt"
	"strings"
)

// WorkerError is how a worker ended.
type WorkerError struct {
	ID, Slot, Generation, PID int

	Ready  bool   // it had been ready
	Reason string // "exit code 1", "signal: killed", ...

	// LastWords holds the end of its standard error, or the error with which its node ended. It is empty if the worker was
	// ready: from then on a worker writes to the standard error of the master by itself.
	LastWords string
}

// Error says which worker it was, and why.
func (e *WorkerError) Error() string {
	when := "before it was ready"
	if e.Ready {
		when = "after it was ready"
	}
	text := fmt.Sprintf("worker %d (slot %d, pid %d) died %s: %s", e.ID, e.Slot, e.PID, when, e.Reason)
	if e.LastWords != "" {
		text += "; its last words:\n\t" + strings.ReplaceAll(e.LastWords, "\n", "\n\t")
	}
	return text
}
