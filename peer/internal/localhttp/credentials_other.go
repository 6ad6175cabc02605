//go:build !linux

package localhttp

import (
	"net"
	"os"
)

// Credentials says that the other end is ours. The standard library cannot ask this kernel, and need not: the
// mode 0700 of the directory of the socket keeps others from it.
func Credentials(*net.UnixConn) (pid, uid int, err error) { return 0, os.Geteuid(), nil }

// unread reports no bytes: the standard library cannot ask this kernel.
func (*ownConn) unread() bool { return false }
