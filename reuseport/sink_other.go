//go:build !linux

package reuseport

import (
	"context"
	"errors"
	"syscall"
)

const backlogBeforeFill = 0

func setBacklog(syscall.Conn, int) error { return errors.ErrUnsupported }

func awaitFull(context.Context, syscall.Conn) error { return errors.ErrUnsupported }
