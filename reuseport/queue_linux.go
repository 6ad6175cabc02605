package reuseport

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// queue reads TCP_INFO, where tcp_get_info gives two fields another meaning for a socket in the state LISTEN.
func queue(l syscall.Conn) (QueueStats, error) {
	c, err := l.SyscallConn()
	if err != nil {
		return QueueStats{}, err
	}
	var info *unix.TCPInfo
	var optErr error
	err = c.Control(func(fd uintptr) {
		info, optErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	switch {
	case err != nil:
		return QueueStats{}, err
	case optErr != nil:
		return QueueStats{}, os.NewSyscallError("getsockopt", optErr)
	case info.State != unix.BPF_TCP_LISTEN:
		return QueueStats{}, os.NewSyscallError("getsockopt", unix.EINVAL)
	}
	return QueueStats{Length: int(info.Unacked), Limit: int(info.Sacked)}, nil
}
