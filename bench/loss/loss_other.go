//go:build !linux

// Package loss proves what a cluster promises of connections and requests, on Linux.
package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Roles returns none here.
func Roles() map[string]func() error { return nil }

// Run returns an error.
func Run(context.Context, []string, io.Writer, io.Writer) error {
	return fmt.Errorf("needs Linux: %w", errors.ErrUnsupported)
}

// Chaos returns an error.
var Chaos = Run
