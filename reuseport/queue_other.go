//go:build !linux

package reuseport

import (
	"errors"
	"syscall"
)

func queue(syscall.Conn) (QueueStats, error) { return QueueStats{}, errors.ErrUnsupported }
