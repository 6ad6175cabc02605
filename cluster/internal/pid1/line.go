package pid1

import (
	"fmt"
	"os"
	"os/exec"
)

// lineVariable is the environment variable in which the program finds the descriptor of its line.
const lineVariable = "MULTINODE_INIT_LINE"

// Line is how a program talks to the init that has started it. A nil Line has no init, and does nothing.
type Line struct{ pipe *os.File }

// Ready says that this process is the master, and has been ready.
func (l *Line) Ready() { l.say(wordReady, os.Getpid()) }

// Stopping says that this process has begun to stop: however it ends, it is not started again.
func (l *Line) Stopping() { l.say(wordStopping, os.Getpid()) }

// Heir says that the process pid, a child of this one, takes its place if this one dies.
func (l *Line) Heir(pid int) { l.say(wordHeir, pid) }

// Share passes the line on to a process that cmd will start. It adds to cmd's ExtraFiles and Env.
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
