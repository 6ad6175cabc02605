//go:build !linux

package bus

import (
	"errors"
	"time"
)

// ticker is not supported: without timerfd(2), readers call no handlers.
type ticker struct{}

func newTicker() (*ticker, error) { return nil, errors.ErrUnsupported }

func (t *ticker) run(func()) {}

func (t *ticker) set(time.Duration) {}

func (t *ticker) close() {}
