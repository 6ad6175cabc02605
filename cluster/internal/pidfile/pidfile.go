// Package pidfile keeps the id of this process in a file, for scripts that signal it.
//
// A pid file is always whole: it is replaced by a rename, so a reader sees the old id or the new one. The file of a process
// that runs is never taken over, unless the caller names that process as a predecessor, and a file that holds anything but
// a process id is never overwritten. Between looking at the file and replacing it another process may write it: the caller
// needs a lock where two processes with the same path may start at once.
//
//	remove, err := pidfile.Write("/run/town.pid")
//	if err != nil {
//		return err
//	}
//	defer remove()
package pidfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/multinode-go/multinode/internal/errline"
)

// Write writes the id of this process to the file at path, and returns a function that removes the file if it still names
// this process. It replaces a file that names a process that has ended, and a file that names one of predecessors: the
// processes that this process takes over from. A file that names any other process that runs is an error that Is
// [os.ErrExist]; a file that holds no process id is an error too.
func Write(path string, predecessors ...int) (remove func() error, err error) {
	self := os.Getpid()
	pid, err := read(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("pid file: %w", err)
	case pid != 0 && pid != self && !slices.Contains(predecessors, pid) && isAlive(pid):
		return nil, fmt.Errorf("pid file %s: process %d, which it names, is running: stop it, or remove the file "+
			"if the process is another program: %w", path, pid, os.ErrExist)
	}
	if err := replace(path, strconv.Itoa(self)+"\n"); err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	return func() error { return removeOwn(path, self) }, nil
}

// removeOwn removes the file at path if it names process pid. A file that is missing or names another process is no error.
func removeOwn(path string, pid int) error {
	named, err := read(path)
	if err == nil && named == pid {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// read returns the process that the file at path names; 0 if there is no file, or an empty one.
func read(path string) (pid int, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	const limit = 64 // bytes, more than any pid has
	content, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return 0, err
	}
	content = bytes.TrimSpace(content)
	if len(content) == 0 {
		return 0, nil
	}
	pid, err = strconv.Atoi(string(content))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s holds %q, which is no process id: choose another path, or remove the file", path, content)
	}
	return pid, nil
}

// replace writes content to the file at path by a rename, so that no reader sees a part of it.
func replace(path, content string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errline.Join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.WriteString(content)
	const readable = 0o644 // for other users, who may want to send a signal
	if err = errline.Join(errline.Join(err, temp.Chmod(readable)), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// isAlive reports whether a process runs, also if it is another user's.
func isAlive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = process.Signal(syscall.Signal(0))
	_ = process.Release() // ends the handle, not the process
	return !errors.Is(err, os.ErrProcessDone)
}
