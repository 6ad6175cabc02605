// Package proc starts, adopts and signals the processes that a master supervises, and says why each of them ended.
//
// There are three ways to a [Process]. [StartSelf] starts this program again. A [Program] starts another one, and ends its
// descendants together with it. [Adopt] watches a process that is no child of this one. However it was made, a Process delivers
// one [Exit]: the exit code or signal, whether the kernel killed it for lack of memory, and its last words, if its standard error
// is a pipe of ours.
//
// [ThreadTimes] show how long a process has waited for a CPU. That distinguishes a process that hangs from a process that gets no
// CPU.
//
// The package decides nothing: its caller decides when a process is started, signalled or replaced. It logs nothing either.
//
// A Process owns its descriptors and goroutines, which end by themselves once the process has ended. All functions and methods
// may be called at the same time, but Exited has one reader. Supervising needs Linux; elsewhere functions return
// errors.ErrUnsupported, or say that nothing is known.
package proc

import "os"

// Process is a process that this one has started or adopted.
type Process struct {
	PID int

	// Signal sends a signal to the process. It fails when the process has ended.
	Signal func(os.Signal) error

	// Exited gets one value, when the process has ended.
	Exited <-chan Exit

	note func() // nil: the process is not the root of a tree
}

// Note remembers the descendants that the process, as one of a [Program], has now: they end with the process, even if they leave
// its group. It does nothing for other processes.
func (p *Process) Note() {
	if p.note != nil {
		p.note()
	}
}

// RestoreStderr makes fd the standard error of this process, and closes fd. A child of [StartSelf] calls it with [ExtraFile] when
// its output can no longer be last words. If fd is 0, it does nothing.
func RestoreStderr(fd uintptr) error { return restoreStderr(fd) }
