package reuseport

import (
	"os"
	"syscall"

	goreuseport "github.com/libp2p/go-reuseport"
	"golang.org/x/sys/unix"
)

// share lets the port of a socket that is not yet bound be shared with our uid.
//
// go-reuseport sets SO_REUSEADDR too, and share restores the value of package net: two UDP sockets that both have it may be
// bound to one port by different users (udp_lib_lport_inuse), so that another user could receive our datagrams. Package net
// sets it for TCP and for multicast, where it belongs.
func share(network, address string, c syscall.RawConn) error {
	reuseAddr, err := reuseAddr(c)
	if err != nil {
		return err
	}
	if err := goreuseport.Control(network, address, c); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	var optErr error
	err = c.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, reuseAddr)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", optErr)
}

func reuseAddr(c syscall.RawConn) (value int, err error) {
	var optErr error
	err = c.Control(func(fd uintptr) {
		value, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR)
	})
	if err != nil {
		return 0, err
	}
	return value, os.NewSyscallError("getsockopt", optErr)
}
