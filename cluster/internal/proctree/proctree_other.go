//go:build !linux

package proctree

import (
	"errors"
	"syscall"
)

func startOf(int) uint64 { return 0 }

func attributes() *syscall.SysProcAttr { return nil }

func (*Tree) leftLocked() []Process { return nil }

func descendants(int) []int { return nil }

func orphans(func(int) bool) []Process { return nil }

func adopt() error { return errors.ErrUnsupported }

func reap(_, _ func(int) bool) {}

func (Process) signal(syscall.Signal) error { return errors.ErrUnsupported }
