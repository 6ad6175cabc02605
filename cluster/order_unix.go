//go:build unix

package cluster

import (
	"os"
	"syscall"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// orders are the signals that order a master to do something.
var orders = map[os.Signal]lifecycle.Order{
	syscall.SIGHUP:  {Kind: lifecycle.Reload, Name: "reload"},
	syscall.SIGTTIN: {Kind: lifecycle.ScaleBy, Name: "scale", Count: 1},
	syscall.SIGTTOU: {Kind: lifecycle.ScaleBy, Name: "scale", Count: -1},
	syscall.SIGUSR2: {Kind: lifecycle.Takeover, Name: doingTakeover},
}

// hadTerminal tells whether the process was started with a controlling terminal.
var hadTerminal = hasTerminal()

func hasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	return tty.Close() == nil
}

// hungUp tells whether a SIGHUP says what it says at first: that the terminal is gone. That is no order to reload, but
// the end.
func hungUp(sig os.Signal) bool { return sig == syscall.SIGHUP && hadTerminal && !hasTerminal() }

// Signals that stop some programs, see knownPrograms.
const (
	sigUser1 = syscall.SIGUSR1
	sigWinch = syscall.SIGWINCH
)

// signalName returns the name of a signal that stops programs.
func signalName(sig os.Signal) string {
	names := map[os.Signal]string{
		syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT", syscall.SIGHUP: "SIGHUP",
		syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2", syscall.SIGWINCH: "SIGWINCH",
	}
	return orElse(names[sig], sig.String())
}
