//go:build !linux

package reuseport

import (
	"context"
	"errors"
	"net"
)

func reserve(_ context.Context, network, _ string) (*Reservation, error) {
	return nil, &net.OpError{Op: "listen", Net: network, Err: errors.ErrUnsupported}
}

func rejoin(ctx context.Context, network, address string) (*Reservation, error) {
	return reserve(ctx, network, address)
}
