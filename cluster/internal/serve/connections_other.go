//go:build !linux

package serve

import (
	"errors"
	"net/netip"
)

func openConnections([]netip.AddrPort) (int, error) { return 0, errors.ErrUnsupported }
