package localhttp

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Credentials returns the process and user at the other end of conn, as the kernel noted them at connect or at listen.
func Credentials(conn *net.UnixConn) (pid, uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, 0, err
	}
	if sockErr != nil {
		return 0, 0, os.NewSyscallError("getsockopt SO_PEERCRED", sockErr)
	}
	return int(cred.Pid), int(cred.Uid), nil
}

// unread reports whether bytes have arrived that the server has not read yet.
func (c *ownConn) unread() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false // it is closed
	}
	n := 0
	err = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && n > 0
}
