//go:build !linux

package cost

import (
	"errors"
	"fmt"
	"time"
)

// errNotLinux is why some tables are not to be had.
var errNotLinux = fmt.Errorf("bench: needs Linux: %w", errors.ErrUnsupported)

func monotonic() (int64, error) { return 0, errNotLinux }

func (p *process) pause() error  { return errNotLinux }
func (p *process) resume() error { return errNotLinux }

func ownCPU() (time.Duration, error) { return 0, errNotLinux }
