package cluster

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
)

// writePIDFile leaves the id of this process in the file at path, all at once, and returns what removes it if it is
// ours still. A file that names a process that is gone is replaced, and so is one that names a predecessor: a process
// that this one takes over from. Any other that lives is an error, and so is a file that holds something else.
func writePIDFile(path string, predecessors ...int) (remove func() error, err error) {
	self := os.Getpid()
	pid, err := readPIDFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("pid file: %w", err)
	case pid != 0 && pid != self && !slices.Contains(predecessors, pid) && isAlive(pid):
		return nil, fmt.Errorf("pid file %s: process %d, which it names, is running: stop it, or remove the file "+
			"if the process is another program: %w", path, pid, os.ErrExist)
	}
	if err := replaceFile(path, strconv.Itoa(self)+"\n"); err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	return func() error { return removePIDFile(path, self) }, nil
}

// removePIDFile removes the file at path if it names process pid. One that is gone already, or another's, is no error.
func removePIDFile(path string, pid int) error {
	named, err := readPIDFile(path)
	if err == nil && named == pid {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// readPIDFile returns the process that the file at path names; 0 if there is no file, or an empty one.
func readPIDFile(path string) (pid int, err error) {
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

// replaceFile writes a file that nobody ever sees half.
func replaceFile(path, content string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.WriteString(content)
	const readable = 0o644 // for whoever wants to send a signal
	if err = join(join(err, temp.Chmod(readable)), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// isAlive tells whether a process lives, also if it is another user's.
func isAlive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = process.Signal(syscall.Signal(0))
	_ = process.Release() // a handle, and no process
	return !errors.Is(err, os.ErrProcessDone)
}
