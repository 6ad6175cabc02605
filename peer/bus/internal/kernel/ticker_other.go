//go:build !linux

package kernel

import (
	"errors"
	"time"
)

// Ticker is not supported: it needs timerfd(2).
type Ticker struct{}

// NewTicker returns an error.
func NewTicker() (*Ticker, error) { return nil, errors.ErrUnsupported }

// Run returns.
func (t *Ticker) Run(func()) {}

// Set does nothing.
func (t *Ticker) Set(time.Duration) {}

// Close does nothing.
func (t *Ticker) Close() {}
