package rendezvous

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// folder is the open directory of a Directory. It stays the same directory, also when its path changes.
type folder struct {
	path    string
	root    *os.Root
	self    *os.File // the folder itself, with a shared lock
	viaProc bool     // /proc/self/fd/N names it, so that sun_path sets no limit to path
}

func openFolder(path string) (*folder, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := checkKind(info); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	f := &folder{path: path, root: root, self: self}
	if err := f.claim(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// claim takes the shared lock that keeps other processes from removing the folder. It checks the opened descriptor, which
// cannot be exchanged any more, and not the path.
func (f *folder) claim() error {
	free, err := flock(f.self, shared)
	if err != nil {
		return err
	}
	if !free { // it is about to be removed
		return errBusy
	}
	info, err := f.self.Stat()
	if err != nil {
		return err
	}
	now, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, now) { // it was removed before we had the lock, or was a link when it was opened
		return errBusy
	}
	proc, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", f.self.Fd()))
	f.viaProc = err == nil && os.SameFile(info, proc)
	return checkAccess(f.path, info)
}

// inPlace reports whether the path of the folder still leads to it.
func (f *folder) inPlace() bool {
	opened, err := f.self.Stat()
	if err != nil {
		return true // it is closed, and its user sees the error
	}
	named, err := os.Lstat(f.path)
	return err == nil && os.SameFile(opened, named)
}

// close closes the folder. It may be called again.
func (f *folder) close() error {
	err := errors.Join(f.self.Close(), f.root.Close())
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

func (f *folder) remove(made []string) error {
	if _, err := f.sweepAll(); err != nil || len(made) == 0 || !f.inPlace() {
		return err
	}
	// Every process that has the directory open holds a shared lock: the exclusive lock shows that no other process has.
	if alone, err := flock(f.self, exclusive); err != nil || !alone {
		return err
	}
	return rmdirAll(made)
}

// at calls call with a path to name that fits into the address of a socket, however long the directory's path is.
func (f *folder) at(name string, call func(path string) error) error {
	if !f.viaProc {
		path := filepath.Join(f.path, name)
		if len(path) > maxSocketPath {
			return fmt.Errorf("the path %s has %d bytes, and the address of a socket has room for %d: "+
				"choose a shorter directory", path, len(path), maxSocketPath)
		}
		return call(path)
	}
	raw, err := f.self.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	// Control keeps the descriptor open, so that its number stays ours during the call.
	err = raw.Control(func(fd uintptr) { callErr = call(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name)) })
	return errors.Join(err, callErr)
}

// holds reports whether name leads to file.
func (f *folder) holds(name string, file *os.File) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := f.root.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

// dial connects to the socket name.
func (f *folder) dial(name string) (conn *net.UnixConn, err error) {
	err = f.at(name, func(path string) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	return conn, err
}

// errNotMade is the error for a file with the name of a node's file that no node has made. Its purpose is not known here,
// so the error does not advise to remove it.
func errNotMade(path, want string, info fs.FileInfo) error {
	return fmt.Errorf("%s is not %s (%v), and was not made by a node: choose another directory, or move it elsewhere",
		path, want, info.Mode())
}

func checkKind(info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("it is a symbolic link, which others could turn: name the directory itself")
	case !info.IsDir():
		return fmt.Errorf("it is not a directory (%v): choose another path", info.Mode())
	}
	return nil
}

func checkAccess(path string, info fs.FileInfo) error {
	if uid := owner(info); uid != os.Geteuid() {
		return fmt.Errorf("it belongs to uid %d, and we are uid %d: choose another path, or, if it is for nothing else, chown %d %q",
			uid, os.Geteuid(), os.Geteuid(), path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("its mode %04o lets others in: choose another path, or, if it is for nothing else, chmod 0700 %q",
			mode, path)
	}
	return nil
}
