package cluster

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lastingPipe returns a pipe whose writer is a reader as well, so that whoever has it can write when we are gone: it is
// not killed by SIGPIPE, and does not wait before the pipe is full.
func lastingPipe() (reader, writer *os.File, err error) {
	reader, once, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	writer, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(once.Fd())), os.O_RDWR, 0)
	if err = join(err, once.Close()); err != nil {
		return nil, nil, join(err, reader.Close())
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

// descendantsOf returns the processes that a process has started, and those that these have started.
func descendantsOf(pid int) (all []int) {
	for _, child := range childrenOf(pid) {
		all = append(append(all, child), descendantsOf(child)...)
	}
	return all
}

// childrenOf returns the children of all threads of a process (/proc/PID/task/TID/children, proc(5)).
func childrenOf(pid int) (children []int) {
	paths, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // fails for a malformed pattern only
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // the thread is gone
		}
		for field := range strings.FieldsSeq(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}
