package ways

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tally is what a worker tells the master of its connections, in memory that both share: it takes no system call.
type tally struct {
	taken  atomic.Uint64 // read from the socket
	closed atomic.Uint64
}

// newTally returns a tally, and the file by which another process gets it, which the caller closes.
func newTally() (*tally, *os.File, error) {
	fd, err := unix.MemfdCreate("tally", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "tally")
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	t, err := openTally(file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return t, file, nil
}

func openTally(file *os.File) (*tally, error) {
	memory, err := unix.MmapPtr(int(file.Fd()), 0, nil, uintptr(os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return (*tally)(memory), nil
}

// unmap ends the tally: it must not be used any more.
func (t *tally) unmap() {
	_ = unix.MunmapPtr(unsafe.Pointer(t), uintptr(os.Getpagesize())) // it does not fail for what is mapped
}
