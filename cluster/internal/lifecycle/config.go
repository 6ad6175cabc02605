package lifecycle

import "time"

// Config configures the rules.
type Config struct {
	Workers         int           // slots to begin with
	BootTimeout     time.Duration // of a worker, until it is ready
	StopTimeout     time.Duration // of a worker, until it has left
	LivenessTimeout time.Duration // without an answer, until a worker hangs
	DisableRestart  bool          // a slot whose worker is gone stays empty
	LeaveTimeout    time.Duration // until a node has left its ports, at most
	MasterID        int           // the master's own node
	MasterPID       int
	MasterAccepts   bool // it has a share of the connections itself
}
