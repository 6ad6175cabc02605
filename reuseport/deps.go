package reuseport

import (
	_ "github.com/libp2p/go-reuseport"
	_ "golang.org/x/sys/unix"
)
