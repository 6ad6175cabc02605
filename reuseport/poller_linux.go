package reuseport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// runtimePoller is the descriptor of the epoll instance of the Go runtime, 0 while it is not known. The runtime never closes it.
var runtimePoller atomic.Int32

// pollEntry is what the runtime's poller knows a descriptor by: an event with it wakes the goroutine that waits for the descriptor,
// whichever descriptor the kernel reports. It holds until the runtime closes that descriptor.
type pollEntry struct{ data uint64 }

// findPollEntry returns the entry of a descriptor that net or os has registered.
func findPollEntry(c syscall.RawConn) (entry pollEntry, err error) {
	var findErr error
	err = c.Control(func(fd uintptr) { entry, findErr = entryOf(int(fd)) })
	if err != nil {
		return pollEntry{}, err
	}
	return entry, findErr
}

func entryOf(fd int) (pollEntry, error) {
	if poller := int(runtimePoller.Load()); poller != 0 {
		if entry, ok := entryIn(poller, fd); ok {
			return entry, nil
		}
	}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return pollEntry{}, fmt.Errorf("find the runtime's epoll instance: %w", err)
	}
	for _, d := range descriptors {
		if target, err := os.Readlink("/proc/self/fd/" + d.Name()); err != nil || target != "anon_inode:[eventpoll]" {
			continue
		}
		poller, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if entry, ok := entryIn(poller, fd); ok {
			runtimePoller.Store(int32(poller))
			return entry, nil
		}
	}
	return pollEntry{}, fmt.Errorf("the runtime's epoll instance is not in /proc/self/fdinfo: %w", errors.ErrUnsupported)
}

// entryIn reads the entry of a descriptor in an epoll instance: a line "tfd: N events: X data: Y" of proc_pid_fdinfo(5). That of
// another library may have one with the same number, of a descriptor that is closed; the inode tells it apart.
func entryIn(poller, fd int) (entry pollEntry, ok bool) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(poller))
	if err != nil {
		return pollEntry{}, false
	}
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return pollEntry{}, false
	}
	for line := range strings.Lines(string(info)) {
		fields := strings.Fields(line)
		// tfd: 5 events: 80002019 data: 7f2b5c001d30 pos:0 ino:1d sdev:9
		if len(fields) < 8 || fields[0] != "tfd:" || fields[1] != strconv.Itoa(fd) {
			continue
		}
		if fields[7] != "ino:"+strconv.FormatUint(stat.Ino, 16) {
			continue
		}
		data, err := strconv.ParseUint(fields[5], 16, 64)
		return pollEntry{data}, err == nil
	}
	return pollEntry{}, false
}

// How a registration reports that a connection waits: once, or as long as it does.
const (
	edgeTriggered  = unix.EPOLLET
	levelTriggered = 0
)

// register lets a connection in the queue of a listener make this entry's descriptor readable, unless another process was woken for
// it (EPOLLEXCLUSIVE, epoll_ctl(2)).
func (e pollEntry) register(fd int, trigger uint32) error {
	var data [8]byte
	binary.NativeEndian.PutUint64(data[:], e.data)
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE | trigger,
		Fd:     int32(binary.NativeEndian.Uint32(data[:4])), Pad: int32(binary.NativeEndian.Uint32(data[4:])),
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(runtimePoller.Load()), unix.EPOLL_CTL_ADD, fd, &event))
}

// unregister ends the registration of a descriptor, also that which net has made.
func unregister(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(int(runtimePoller.Load()), unix.EPOLL_CTL_DEL, fd, nil))
}

// newFile returns a file for a descriptor that other processes have, too. It ends the registration that os makes, if that can be found:
// each change would wake this process in vain.
func newFile(fd int, name string) *file {
	f := &file{File: os.NewFile(uintptr(fd), name)}
	if entry, err := entryOf(fd); err == nil {
		f.entry = entry
		_ = unregister(fd) // it is registered
	}
	return f
}

func newBell() (*file, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd2", err)
	}
	return newFile(fd, "bell"), nil
}

// acceptingFrom returns a listener with the socket of b that the poller does not know: nothing wakes an Accept that waits.
//
// It is one that net has made for another socket, in whose place it gets that of b: a listener of net.FileListener would set
// the keep-alive of each connection in four system calls, which the connections have from their listener already, see Listen.
func acceptingFrom(b syscall.Conn) (*net.TCPListener, error) {
	l, err := Options{}.listenConfig().Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		l, err = Options{}.listenConfig().Listen(context.Background(), "tcp", "[::1]:0")
	}
	if err != nil {
		return nil, err
	}
	err = control(l.(*net.TCPListener), func(fd int) error {
		if err := unregister(fd); err != nil {
			return err
		}
		return control(b, func(socket int) error { return os.NewSyscallError("dup3", unix.Dup3(socket, fd, unix.O_CLOEXEC)) })
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.TCPListener), nil
}

// haveWaiting reports for each listener whether a connection is in its queue, or it does not listen any more. It returns nothing
// where the kernel does not.
func haveWaiting(listeners []syscall.Conn) []bool {
	fds := make([]unix.PollFd, len(listeners))
	for i, l := range listeners {
		fds[i].Fd = -1                      // is ignored
		_ = control(l, func(fd int) error { // an error: it is closed
			fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
			return nil
		})
	}
	if _, err := unix.Poll(fds, 0); err != nil {
		return nil
	}
	waiting := make([]bool, len(fds))
	for i, fd := range fds {
		waiting[i] = fd.Revents != 0
	}
	return waiting
}
