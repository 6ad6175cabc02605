//go:build !linux

package reuseport

import (
	"errors"
	"runtime"
	"syscall"
)

func probeSupport() Support {
	err := errUnsupported("steering on " + runtime.GOOS)
	return Support{Attach: err, Reattach: err, IncomingCPU: err, Migrate: err, Kernel: runtime.GOOS}
}

func setIncomingCPU(syscall.Conn, int) error { return errors.ErrUnsupported }

func onlineCPUs() int { return 0 }
