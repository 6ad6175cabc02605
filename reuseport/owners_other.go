//go:build !linux

package reuseport

import (
	"context"
	"errors"
)

func ownersOf(context.Context, string, string) ([]Owner, error) { return nil, errors.ErrUnsupported }

func holders(context.Context, uint32) ([]Owner, error) { return nil, errors.ErrUnsupported }

func visitor(context.Context, string, string, func(int) bool) (Owner, bool, error) {
	return Owner{}, false, errors.ErrUnsupported
}
