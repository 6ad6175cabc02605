//go:build !linux

package reuseport

import (
	"context"
	"errors"
	"syscall"
)

func drain(context.Context, syscall.Conn) (int, error) { return 0, errors.ErrUnsupported }

func barrier(context.Context) error { return errors.ErrUnsupported }
