package reuseport

import "golang.org/x/sys/unix"

const (
	balanceOption = unix.SO_REUSEPORT
	balanceName   = "SO_REUSEPORT"
)
