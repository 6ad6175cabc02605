//go:build unix

package node

import (
	"os"
	"syscall"
)

// orderSignals are the signals that order a master to do something.
var orderSignals = []os.Signal{syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGUSR2}

// hadTerminal reports whether the process was started with a controlling terminal.
var hadTerminal = hasTerminal()

func hasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	return tty.Close() == nil
}

// hungUp reports whether a SIGHUP has its original meaning: the terminal is gone. That is no order to reload, but the end.
func hungUp(sig os.Signal) bool { return sig == syscall.SIGHUP && hadTerminal && !hasTerminal() }
