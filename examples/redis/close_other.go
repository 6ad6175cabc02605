//go:build !linux

package main

import "net"

// joinEnd does nothing: only Linux has TCP_CORK.
func joinEnd(net.Conn) {}
