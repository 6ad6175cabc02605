package proc

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"github.com/multinode-go/multinode/internal/errline"
)

// lastingPipe returns a pipe whose writer is a reader as well, so that a process that has it can write when we are gone: it is
// not killed by SIGPIPE, and does not wait before the pipe is full.
func lastingPipe() (reader, writer *os.File, err error) {
	reader, once, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	writer, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(once.Fd())), os.O_RDWR, 0)
	if err = errline.Join(err, once.Close()); err != nil {
		return nil, nil, errline.Join(err, reader.Close())
	}
	return reader, writer, nil
}

// outputOf opens the pipe that is the standard output of a process.
func outputOf(pid int) (*os.File, error) {
	path := fmt.Sprintf("/proc/%d/fd/1", pid)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != fs.ModeNamedPipe {
		return nil, fmt.Errorf("%s is not a pipe (%v)", path, info.Mode())
	}
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
