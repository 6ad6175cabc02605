//go:build !linux

package reuseport

import (
	"context"
	"errors"
)

func ownersOf(context.Context, string, string) ([]Owner, error) { return nil, errors.ErrUnsupported }
