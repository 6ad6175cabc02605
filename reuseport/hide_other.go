//go:build !linux

package reuseport

import (
	"errors"
	"syscall"
)

func hide(syscall.Conn) error { return errors.ErrUnsupported }
