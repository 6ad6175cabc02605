//go:build !linux

package reuseport

import (
	"errors"
	"syscall"
)

func attach(syscall.Conn, Steering) error { return errors.ErrUnsupported }
