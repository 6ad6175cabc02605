//go:build !linux

package bus

import (
	"errors"
	"time"
)

// ticker is not there: without timerfd(2), no handler is called by the reader.
type ticker struct{}

func newTicker() (*ticker, error) { return nil, errors.ErrUnsupported }

func (t *ticker) run(func()) {}

func (t *ticker) set(time.Duration) {}

func (t *ticker) close() {}
