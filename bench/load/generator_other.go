//go:build !linux

package load

import (
	"errors"
	"fmt"
)

func generate(Plan, <-chan struct{}) (Result, error) {
	return Result{}, fmt.Errorf("needs Linux: %w", errors.ErrUnsupported)
}
