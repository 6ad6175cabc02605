package invalidate

import (
	"cmp"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendFile sends a byte and a descriptor of a file over a Unix socket, see unix(7).
func sendFile(socket syscall.Conn, with byte, file *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	owner, err := file.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := owner.Control(func(fd uintptr) { // the file is not closed meanwhile
		rights := unix.UnixRights(int(fd))
		writeErr := raw.Write(func(to uintptr) bool {
			err = again(func() error { return unix.Sendmsg(int(to), []byte{with}, rights, nil, unix.MSG_NOSIGNAL) })
			return !errors.Is(err, unix.EAGAIN)
		})
		err = errors.Join(writeErr, os.NewSyscallError("sendmsg", err))
	})
	return cmp.Or(controlErr, err)
}

// receiveFile receives a byte, and the file whose descriptor came with it, nil if none did. It closes further descriptors.
func receiveFile(socket syscall.Conn) (with byte, file *os.File, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, nil, err
	}
	var n, rights int
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(maxDescriptors*descriptorSize))
	readErr := raw.Read(func(from uintptr) bool {
		err = again(func() (err error) {
			n, rights, _, _, err = unix.Recvmsg(int(from), data, control, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		return !errors.Is(err, unix.EAGAIN)
	})
	if err := errors.Join(readErr, os.NewSyscallError("recvmsg", err)); err != nil {
		return 0, nil, err
	}
	descriptors := parseRights(control[:rights])
	if n == 0 {
		err = io.ErrUnexpectedEOF
	}
	for i, fd := range descriptors {
		if i == 0 && err == nil {
			file = os.NewFile(uintptr(fd), "memory")
		} else {
			_ = unix.Close(fd)
		}
	}
	return data[0], file, err
}

const (
	maxDescriptors = 4
	descriptorSize = 4
)

// parseRights returns the descriptors in a control message.
func parseRights(control []byte) (descriptors []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if some, err := unix.ParseUnixRights(&m); err == nil {
			descriptors = append(descriptors, some...)
		}
	}
	return descriptors
}

// again calls f until no signal interrupts it.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
