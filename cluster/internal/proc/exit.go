package proc

import (
	"fmt"
	"os"
	"syscall"
)

// Exit is how a process ended.
type Exit struct {
	Code        int            // when Signal is 0
	Signal      syscall.Signal // that killed it
	Core        bool           // a core file was written
	OutOfMemory bool           // killed while the kernel was out of memory
	Err         error          // why it could not even be started
	Unknown     bool           // it was adopted: only its parent knows how it ended
	LastWords   string         // the end of what it wrote to a pipe of ours, "" if it had none

	// Of a process of a Program, names of other processes.
	Left   string // that it had left behind, and that were ended with it
	Alive  string // those of them that could not be ended
	Daemon string // if it ended with code 0: a process that went on without it
}

func exitOf(state *os.ProcessState) Exit {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return Exit{Signal: status.Signal(), Core: status.CoreDump()}
	}
	return Exit{Code: state.ExitCode()}
}

// IsDone reports whether the process has ended by itself, without an error.
func (e Exit) IsDone() bool { return e.Code == 0 && e.Signal == 0 && e.Err == nil && !e.Unknown }

// String describes the exit: "exit code 1", "signal: killed" and so on.
func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Unknown:
		return "exit status not known, because a previous master started it"
	case e.Signal == 0:
		return fmt.Sprintf("exit code %d", e.Code)
	case e.OutOfMemory:
		return "out of memory, killed by the kernel"
	case e.Core:
		return fmt.Sprintf("signal: %v (core dumped)", e.Signal)
	default:
		return fmt.Sprintf("signal: %v", e.Signal)
	}
}
