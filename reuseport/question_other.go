//go:build !linux

package reuseport

import (
	"context"
	"errors"
	"net"
)

func newQuestion(context.Context, *net.TCPAddr) (*Question, error) {
	return nil, errors.ErrUnsupported
}

func (*Question) connect(context.Context) error { return errors.ErrUnsupported }

func (*Question) finish(context.Context) error { return errors.ErrUnsupported }

func (*Question) close() error { return errors.ErrUnsupported }

func (*Question) arrival() (Arrival, uint32, error) { return 0, 0, errors.ErrUnsupported }
