package main

import (
	"net"
	"syscall"
)

// joinEnd lets what is still to be written to a connection leave in one segment with its end (TCP_CORK, tcp(7)). A client that
// looks whether its connection is open before it sends a command then never sends between the two.
func joinEnd(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) })
	}
}
