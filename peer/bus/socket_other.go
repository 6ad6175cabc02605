//go:build !linux

package bus

import (
	"io"
	"net"
)

// socketOf returns conn. Package framing writes with a deadline then.
func socketOf(conn net.Conn) io.ReadWriteCloser { return conn }
