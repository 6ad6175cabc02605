package reuseport

import "golang.org/x/sys/unix"

// On FreeBSD SO_REUSEPORT only lets sockets share a port; the _LB variant balances between them.
const (
	balanceOption = unix.SO_REUSEPORT_LB
	balanceName   = "SO_REUSEPORT_LB"
)
