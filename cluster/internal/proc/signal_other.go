//go:build !unix

package proc

import "syscall"

// Continue is no signal here: it only asks whether the process is there.
const Continue = syscall.Signal(0)
