//go:build !linux

// Package compare measures ways to share a port. It is for Linux.
package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// Agree returns an error that Is errors.ErrUnsupported.
func Agree(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return Run(ctx, args, stdout, stderr)
}

// Run returns an error that Is errors.ErrUnsupported.
func Run(context.Context, []string, io.Writer, io.Writer) error {
	return fmt.Errorf("the comparison needs Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
