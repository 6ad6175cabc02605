// Package pid1 gives a container an init, so that the program in it is an ordinary process.
//
// Process 1 of a pid namespace is special (pid_namespaces(7)): it becomes the parent of all orphans and has to reap them, a
// signal that it does not handle has no effect, and its end kills all others. A program cannot reap orphans and wait for its
// own children at the same time: wait(2) does not tell which is which. So the program does not stay process 1.
//
// [Become] replaces the program in process 1 by an init, with exec: the same executable, which ends before main. The init starts the
// program as its child and passes on its signals, reaps orphans, and starts the program again when it has crashed. It ends with
// the exit code of the program; 128 and the number of the signal, as a shell does, if a signal has killed the program.
//
// The program has a [Line] to the init, on which it says what the init cannot see: that it is ready, that it stops, which
// process takes its place. rules.go holds what the init does with that.
package pid1

import (
	"fmt"
	"os"
	"os/exec"
)

const (
	// initVariable is the environment variable that makes process 1 the init, and names the program that it starts.
	initVariable = "MULTINODE_INIT"
	// lineVariable is the environment variable in which the program finds the descriptor of its line.
	lineVariable = "MULTINODE_INIT_LINE"
)

// Line is how a program talks to the init that has started it. A nil Line has no init, and does nothing.
type Line struct{ pipe *os.File }

// Init is this process's line. It is nil in a process that was not started by an init, and in what the program starts.
var Init = begin()

// Ready says that this process is the master, and has been ready.
func (l *Line) Ready() { l.say(wordReady, os.Getpid()) }

// Stopping says that this process has begun to stop: whatever its end is, it is not started again.
func (l *Line) Stopping() { l.say(wordStopping, os.Getpid()) }

// Heir says that the process pid, a child of this one, takes its place if this one dies.
func (l *Line) Heir(pid int) { l.say(wordHeir, pid) }

// Share gives the line to a process that cmd will start. It adds to cmd's ExtraFiles and Env.
func (l *Line) Share(cmd *exec.Cmd) {
	if l == nil {
		return
	}
	const first = 3 // the number that the first of ExtraFiles has in the child
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", lineVariable, first+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, l.pipe)
}

func (l *Line) say(w word, pid int) {
	if l != nil {
		_, _ = fmt.Fprintln(l.pipe, w, pid) // it fails only when process 1 is gone, and all others with it
	}
}
