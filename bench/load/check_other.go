//go:build !linux

package load

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Check returns an error.
func Check(context.Context, []string, io.Writer, io.Writer) error {
	return fmt.Errorf("check-load: needs Linux: %w", errors.ErrUnsupported)
}
