//go:build !unix

package cluster

import (
	"os"
	"syscall"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
)

// orders are for masters of workers, which there are none of here.
var orders map[os.Signal]lifecycle.Order

// Signals that stop some programs, see knownPrograms: where there are none, programs are not supervised.
const (
	sigUser1 = syscall.Signal(0)
	sigWinch = syscall.Signal(0)
)

func signalName(sig os.Signal) string { return sig.String() }
