//go:build !linux

package roles

import (
	"errors"
	"fmt"
	"time"
)

// Monotonic is why some tables are not to be had.
func Monotonic() (time.Duration, error) {
	return 0, fmt.Errorf("bench: needs Linux: %w", errors.ErrUnsupported)
}
