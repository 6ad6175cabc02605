package reuseport

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptedKeepAlive tells net to leave keep-alive of accepted connections alone: they have it from their listener.
const acceptedKeepAlive = -1

// What net sets by default, see [net.KeepAliveConfig].
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// setKeepAlive gives a listener's connections keep-alive. The kernel copies the options with the socket
// (tcp_create_openreq_child); net would set them on each one, in four system calls.
func setKeepAlive(c syscall.RawConn) error {
	var optErr error
	err := c.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, value int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveIdle / time.Second)},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveInterval / time.Second)},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		} {
			if optErr = unix.SetsockoptInt(int(fd), o.level, o.name, o.value); optErr != nil {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", optErr)
}
