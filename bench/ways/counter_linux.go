package ways

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// counter is a number in memory that two processes share. One adds to it, the other reads it, and neither needs a system
// call.
type counter struct{ memory []byte }

// newCounter returns a counter and the file by which another process gets it, which the caller closes.
func newCounter() (*counter, *os.File, error) {
	fd, err := unix.MemfdCreate("counter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "counter")
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	c, err := openCounter(file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return c, file, nil
}

func openCounter(file *os.File) (*counter, error) {
	memory, err := unix.Mmap(int(file.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &counter{memory}, nil
}

func (c *counter) value() *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&c.memory[0])) }

func (c *counter) add()         { c.value().Add(1) }
func (c *counter) load() uint64 { return c.value().Load() }
func (c *counter) unmap()       { _ = unix.Munmap(c.memory) } // it does not fail for what is mapped
