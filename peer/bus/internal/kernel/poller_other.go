//go:build !linux

package kernel

import (
	"errors"
	"net"
)

// Poller is not supported: it needs epoll(7).
type Poller struct{}

// NewPoller returns an error.
func NewPoller(net.Conn) (*Poller, error) { return nil, errors.ErrUnsupported }

// Arm returns false.
func (p *Poller) Arm() bool { return false }

// Disarm does nothing.
func (p *Poller) Disarm() {}

// Wait returns false.
func (p *Poller) Wait() bool { return false }

// Wake does nothing.
func (p *Poller) Wake() {}

// Close does nothing.
func (p *Poller) Close() {}
