//go:build !linux

package reuseport

import "syscall"

// acceptedKeepAlive lets net set keep-alive on each accepted connection.
const acceptedKeepAlive = 0

func setKeepAlive(syscall.RawConn) error { return nil }
