//go:build unix && !linux

package proc

import "syscall"

func dup2(from, to int) error { return syscall.Dup2(from, to) }
