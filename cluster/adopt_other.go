//go:build !linux

package cluster

import (
	"errors"
	"syscall"
)

// sigContinue is for workers, which are Linux: 0 only asks whether the process is there.
const sigContinue = syscall.Signal(0)

func adoptProcess(int) (*process, error) { return nil, errors.ErrUnsupported }

func isWorkerProcess(int) bool { return false }
