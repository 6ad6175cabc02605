//go:build unix

package cluster

import (
	"cmp"
	"os"
	"syscall"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// orders are the signals that order a master to do something.
var orders = map[os.Signal]lifecycle.Order{
	syscall.SIGHUP:  {Kind: lifecycle.Reload, Name: "reload"},
	syscall.SIGTTIN: {Kind: lifecycle.ScaleBy, Name: "scale", Count: 1},
	syscall.SIGTTOU: {Kind: lifecycle.ScaleBy, Name: "scale", Count: -1},
	syscall.SIGUSR2: {Kind: lifecycle.Takeover, Name: "takeover"},
}

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
	return cmp.Or(names[sig], sig.String())
}
