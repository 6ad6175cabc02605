//go:build !linux

package reuseport

import (
	"os"
	"syscall"

	goreuseport "github.com/libp2p/go-reuseport"
)

// share lets the port of a socket that is not yet bound be shared.
func share(network, address string, c syscall.RawConn) error {
	return os.NewSyscallError("setsockopt", goreuseport.Control(network, address, c))
}
