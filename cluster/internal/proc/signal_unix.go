//go:build unix

package proc

import "syscall"

// Continue lets a process go on that was stopped.
const Continue = syscall.SIGCONT
