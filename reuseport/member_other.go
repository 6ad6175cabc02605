//go:build !linux

package reuseport

import (
	"context"
	"errors"
	"syscall"
)

func inode(syscall.Conn) (uint32, error) { return 0, errors.ErrUnsupported }

func listenersOf(context.Context, string, string) ([]Listener, error) {
	return nil, errors.ErrUnsupported
}
