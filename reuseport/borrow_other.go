//go:build !linux

package reuseport

import (
	"context"
	"errors"
	"net/netip"
)

func borrow(int, uint32) (*Borrowed, error) { return nil, errors.ErrUnsupported }

func holder(context.Context, netip.AddrPort, netip.AddrPort, []int) (int, error) {
	return 0, errors.ErrUnsupported
}

func listeningOf(context.Context, []int) (map[int][]Listener, error) {
	return nil, errors.ErrUnsupported
}
