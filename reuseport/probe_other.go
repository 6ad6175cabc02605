//go:build !linux && !freebsd

package reuseport

import "runtime"

func probe() error {
	return errUnsupported("the kernel of " + runtime.GOOS + " does not balance a port between sockets")
}
