//go:build unix

package proc

import "syscall"

// Continue continues a process that was stopped.
const Continue = syscall.SIGCONT
