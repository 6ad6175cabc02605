package reuseport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// installing bounds the time between accept's making of a socket, when it gets its inode, and that of the descriptor
// (do_accept, fd_install).
const installing = 100 * time.Millisecond

func borrow(pid int, inode uint32) (*Borrowed, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", missing(err))
	}
	defer unix.Close(process)
	fds, err := socketFDs(pid, inode)
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		// From here on it is the right process, even if pid has been given to another one.
		dup, err := unix.PidfdGetfd(process, fd, 0)
		if err != nil {
			return nil, os.NewSyscallError("pidfd_getfd", missing(err))
		}
		if borrowable(dup, inode) {
			return &Borrowed{socket: newFile(dup, "borrowed socket")}, nil
		}
		unix.Close(dup)
	}
	return nil, fmt.Errorf("it holds no such listener: %w", os.ErrNotExist)
}

// missing lets the errno for a process or descriptor that is gone be os.ErrNotExist too.
func missing(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EBADF) {
		return fmt.Errorf("%w: %w", err, os.ErrNotExist)
	}
	return err
}

// borrowable reports whether a descriptor is still the wanted socket, and its number was not used again.
func borrowable(fd int, inode uint32) bool {
	ino, err := inodeOf(fd)
	if err != nil || ino != inode {
		return false
	}
	return isListening(fd)
}

func isListening(fd int) bool {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && listening == 1
}

func listens(l syscall.Conn) (is bool) {
	_ = control(l, func(fd int) error { // an error: it is closed
		is = isListening(fd)
		return nil
	})
	return is
}

func localAddr(l syscall.Conn) (addr string) {
	_ = control(l, func(fd int) error { // an error: it is closed
		sa, err := unix.Getsockname(fd)
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			addr = (&net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}).String()
		case *unix.SockaddrInet6:
			zone := ""
			if sa.ZoneId != 0 {
				if ifi, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
					zone = ifi.Name
				}
			}
			addr = (&net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: zone}).String()
		}
		return err
	})
	return addr
}

func socketFDs(pid int, inode uint32) (fds []int, err error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		target, err := os.Readlink(dir + entry.Name())
		if err != nil {
			continue // closed meanwhile
		}
		if ino, ok := socketInode(target); !ok || ino != inode {
			continue
		}
		if fd, err := strconv.Atoi(entry.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

// socketInode reads what /proc/PID/fd shows for a socket, as in "socket:[4711]".
func socketInode(target string) (uint32, bool) {
	number, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0, false
	}
	ino, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
	return uint32(ino), err == nil
}

func holder(ctx context.Context, local, source netip.AddrPort, pids []int) (pid int, err error) {
	source = unmap(source)
	if local = unmap(local); local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(source.Addr(), local.Port())
	}
	// A look-up finds nothing where the kernel has no sock_diag; a dump tells.
	if _, err := dumpSockets(unix.AF_INET, 1<<tcpListen, local.Port()); err != nil {
		return 0, err
	}
	var giveUp time.Time
	err = poll(ctx, func() (bool, error) {
		s, ok, err := findSocket(local, source)
		if err != nil || !ok || s.inode == 0 { // not there yet, or in the queue
			return false, err
		}
		if pid = firstHolder(s.inode, pids); pid != 0 {
			return true, nil
		}
		if giveUp.IsZero() {
			giveUp = time.Now().Add(installing)
		}
		if time.Now().After(giveUp) {
			return false, ErrNoHolder
		}
		return false, nil
	}, ctx.Err)
	return pid, err
}

func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// unzoned returns an address as sock_diag has it.
func unzoned(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port())
}

func firstHolder(inode uint32, pids []int) int {
	for _, pid := range pids {
		if fds, err := socketFDs(pid, inode); err == nil && len(fds) > 0 {
			return pid
		}
	}
	return 0
}

func listeningOf(ctx context.Context, pids []int) (map[int][]Listener, error) {
	var sockets []diagSocket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, err := dumpSockets(family, 1<<tcpListen, 0)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, found...)
	}
	listening := make(map[int][]Listener)
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		held := socketsOf(pid)
		if found := newListeners(sockets, func(s diagSocket) bool { return held[s.inode] }); len(found) > 0 {
			listening[pid] = found
		}
	}
	return listening, nil
}

func socketsOf(pid int) map[uint32]bool {
	held := make(map[uint32]bool)
	for target := range descriptorsOf(pid) {
		if ino, ok := socketInode(target); ok {
			held[ino] = true
		}
	}
	return held
}

// duplicate returns another descriptor of a file or socket.
func duplicate(of syscall.Conn) (dup int, err error) {
	err = control(of, func(fd int) error {
		dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("fcntl", err)
	})
	return dup, err
}

func lend(l syscall.Conn, bell *file) (*Borrowed, error) {
	socket, err := duplicate(l)
	if err != nil {
		return nil, err
	}
	b, err := newBorrowed(socket)
	if err != nil || bell == nil {
		return b, err
	}
	dup, err := duplicate(bell)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.bell = newFile(dup, "bell")
	return b, nil
}

// newBorrowed returns fd, which is closed if it is no listening TCP socket of our uid.
func newBorrowed(fd int) (*Borrowed, error) {
	if err := checkListener(fd); err != nil {
		_ = unix.Close(fd) // it is of no use
		return nil, err
	}
	return &Borrowed{socket: newFile(fd, "borrowed socket")}, nil
}

func checkListener(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || family != unix.AF_INET && family != unix.AF_INET6 {
		return fmt.Errorf("it is no TCP socket: %w", unix.EINVAL)
	}
	if !isListening(fd) {
		return fmt.Errorf("it does not listen: %w", unix.EINVAL)
	}
	if int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to uid %d: %w", stat.Uid, unix.EINVAL)
	}
	return nil
}

// shutdown lets a socket listen no more. One that does not listen is none any more.
func shutdown(l syscall.Conn) error {
	return control(l, func(fd int) error {
		if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil && !errors.Is(err, unix.ENOTCONN) {
			return os.NewSyscallError("shutdown", err)
		}
		return nil
	})
}

func send(c syscall.Conn, b *Borrowed, with byte) error {
	return control(b.socket, func(socket int) error {
		if b.bell == nil {
			return sendRights(c, with, socket)
		}
		return control(b.bell, func(bell int) error { return sendRights(c, with, socket, bell) })
	})
}

func sendRights(c syscall.Conn, with byte, fds ...int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	rights := unix.UnixRights(fds...)
	var sendErr error
	err = raw.Write(func(to uintptr) bool {
		sendErr = again(func() error { return unix.Sendmsg(int(to), []byte{with}, rights, nil, unix.MSG_NOSIGNAL) })
		return !errors.Is(sendErr, unix.EAGAIN)
	})
	return cmp.Or(err, os.NewSyscallError("sendmsg", sendErr))
}

// again calls f until no signal interrupts it.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func receive(c syscall.Conn) (b *Borrowed, with byte, err error) {
	fds, with, err := receiveRights(c)
	if err != nil {
		return nil, 0, err
	}
	for _, rest := range fds[min(2, len(fds)):] {
		_ = unix.Close(rest) // not from Send
	}
	b, err = newBorrowed(fds[0])
	if len(fds) == 1 {
		return b, with, err
	}
	bell := newFile(fds[1], "bell")
	if err == nil && !isEvent(fds[1]) {
		err = errors.Join(fmt.Errorf("the second descriptor is no eventfd: %w", unix.EINVAL), b.Close())
	}
	if err != nil {
		return nil, 0, errors.Join(err, bell.Close())
	}
	b.bell = bell
	return b, with, nil
}

// isEvent tells whether a descriptor is an eventfd.
func isEvent(fd int) bool {
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err != nil || target == "anon_inode:[eventfd]" // without /proc nothing is known
}

// receiveRights returns at least one descriptor.
func receiveRights(c syscall.Conn) (fds []int, with byte, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var n, rights int
	var receiveErr error
	one, control := make([]byte, 1), make([]byte, unix.CmsgSpace(2*4))
	err = raw.Read(func(from uintptr) bool {
		receiveErr = again(func() (err error) {
			n, rights, _, _, err = unix.Recvmsg(int(from), one, control, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		return !errors.Is(receiveErr, unix.EAGAIN)
	})
	if err := cmp.Or(err, os.NewSyscallError("recvmsg", receiveErr)); err != nil {
		return nil, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:rights])
	if err != nil {
		return nil, 0, os.NewSyscallError("recvmsg", err)
	}
	for _, m := range messages {
		if some, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, some...)
		}
	}
	switch {
	case len(fds) > 0:
		return fds, one[0], nil
	case n == 0:
		return nil, 0, io.EOF
	default: // it had none, or this process had no room for it (MSG_CTRUNC)
		return nil, 0, fmt.Errorf("there is no descriptor in the message: %w", unix.EINVAL)
	}
}
