//go:build !linux

package cost

import (
	"errors"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// errNotLinux is why some tables are not to be had.
var errNotLinux = fmt.Errorf("bench: needs Linux: %w", errors.ErrUnsupported)

func monotonic() (time.Duration, error) { return 0, errNotLinux }

func pause(*child.Process) error  { return errNotLinux }
func resume(*child.Process) error { return errNotLinux }

func ownCPU() (time.Duration, error) { return 0, errNotLinux }
