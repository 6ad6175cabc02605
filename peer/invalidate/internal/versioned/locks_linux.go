package versioned

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// slotLocks are the locks of the slots of a shared table. The lock of a slot is that of one byte of the table's memory, by an open
// file description, see fcntl_locking(2): the kernel releases it when the process is dead.
type slotLocks struct {
	memory *os.File // sent to other processes, and mapped: its file description outlives close, so no lock is taken on it
	file   *os.File // the same memory by a file description of our own: its close releases all locks
}

// isTaken reports whether a live process has the slot.
func (l *slotLocks) isTaken(slot int) bool {
	kind, err := l.control(unix.F_OFD_GETLK, unix.F_WRLCK, slot)
	return err == nil && kind != unix.F_UNLCK
}

// close releases all locks.
func (l *slotLocks) close() error {
	if l.file == nil {
		return l.memory.Close()
	}
	return errors.Join(l.file.Close(), l.memory.Close())
}

// lock takes the lock of a slot. It returns false if another process has it.
func (l *slotLocks) lock(slot int) (free bool, err error) {
	_, err = l.control(unix.F_OFD_SETLK, unix.F_WRLCK, slot)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func (l *slotLocks) unlock(slot int) { _, _ = l.control(unix.F_OFD_SETLK, unix.F_UNLCK, slot) } // it is ours, or closed

func (l *slotLocks) control(command int, kind int16, slot int) (was int16, err error) {
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: int64(slot), Len: 1}
	_, err = withDescriptor(l.file, func(fd uintptr) (int, error) { return 0, unix.FcntlFlock(fd, command, &lock) })
	return lock.Type, err
}

// withDescriptor calls f with the descriptor of a file, which is not closed meanwhile.
func withDescriptor(file *os.File, f func(fd uintptr) (int, error)) (n int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	if controlErr := raw.Control(func(fd uintptr) { n, err = f(fd) }); controlErr != nil {
		return 0, controlErr
	}
	return n, err
}
