package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	maxElement = 255         // NAME_MAX of all file systems that matter
	openWait   = time.Second // how long OpenDirectory runs after a directory that others make and remove
)

// DefaultDirectory returns the path of the rendezvous directory of the cluster of that name:
// $XDG_RUNTIME_DIR/multinode/NAME when XDG_RUNTIME_DIR names a directory of ours by an absolute path, else
// multinode-UID/NAME in the directory for temporary files. It makes nothing.
//
// The name of a cluster has 1 to 64 letters, digits, dots, hyphens and underscores, and no dot in front.
func DefaultDirectory(name string) (string, error) {
	if err := checkCluster(name); err != nil {
		return "", fmt.Errorf("peer: default directory: %w", err)
	}
	if base := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		if info, err := os.Stat(base); err == nil && info.IsDir() && owner(info) == os.Geteuid() {
			return filepath.Join(base, "multinode", name), nil
		}
	}
	base := filepath.Join(os.TempDir(), fmt.Sprintf("multinode-%d", os.Geteuid()))
	// Everybody can make it there before us, and could exchange what we put into it.
	if info, err := os.Lstat(base); err == nil {
		if err := errors.Join(checkKind(base, info), checkAccess(base, info)); err != nil {
			return "", fmt.Errorf("peer: default directory %s: %w", base, err)
		}
	}
	return filepath.Join(base, name), nil
}

// Directory is an open rendezvous directory. Its methods may be called at the same time, but for Close and Remove,
// which come after everything else. While one process has it open, Remove of another leaves it in place.
type Directory struct {
	path    string
	root    *os.Root
	self    *os.File // the directory itself, with a shared lock
	viaProc bool     // /proc/self/fd/N names it, so that sun_path sets no limit to path
	made    []string // what OpenDirectory made, the deepest first
}

// OpenDirectory opens the rendezvous directory at path, and makes it and its parents, with mode 0700, if absent.
//
// It refuses a symbolic link, anything else that is not a directory, a directory of another user, and one that the
// group or others have any right to. The error says what is wrong and how to mend it.
func OpenDirectory(path string) (*Directory, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, fmt.Errorf("peer: open directory %s: %w", path, err)
	}
	return d, nil
}

func openDirectory(path string) (d *Directory, err error) {
	if !supported {
		return nil, fmt.Errorf("on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	var made []string
	// Between two steps another process may remove what is there by now: then all starts again.
	err = retry(openWait, func() error {
		fresh, err := mkdirAll(path)
		made = slices.Concat(fresh, made)
		if err == nil {
			d, err = openExisting(path)
		}
		return err
	}, errBusy, fs.ErrNotExist)
	if err != nil {
		return nil, errors.Join(explainLength(path, err), rmdirAll(made))
	}
	d.made = made
	return d, nil
}

func openExisting(path string) (*Directory, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := checkKind(path, info); err != nil {
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
	d := &Directory{path: path, root: root, self: self}
	if err := d.claim(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// claim takes the shared lock that keeps Remove off, and checks what was opened: the descriptor, which nobody can
// exchange any more, and not the path.
func (d *Directory) claim() error {
	free, err := flock(d.self, shared)
	if err != nil {
		return err
	}
	if !free { // it is about to be removed
		return errBusy
	}
	info, err := d.self.Stat()
	if err != nil {
		return err
	}
	now, err := os.Lstat(d.path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, now) { // it was removed before we had the lock, or was a link when it was opened
		return errBusy
	}
	proc, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", d.self.Fd()))
	d.viaProc = err == nil && os.SameFile(info, proc)
	return checkAccess(d.path, info)
}

// Path returns the absolute path of the directory.
func (d *Directory) Path() string { return d.path }

// Close closes the directory and leaves it in place. It may be called again.
func (d *Directory) Close() error {
	err := errors.Join(d.self.Close(), d.root.Close())
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// Remove removes what nodes that were killed have left in the directory, then the directory and the parents that were
// made for it, as far as this OpenDirectory made them and they are empty, and closes it. What is in use by another
// process stays; that is not an error.
func (d *Directory) Remove() error {
	err := d.remove()
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("peer: remove directory %s: %w", d.path, err)
	}
	return nil
}

func (d *Directory) remove() error {
	if _, err := d.sweepAll(); err != nil || len(d.made) == 0 {
		return err
	}
	// All that have the directory open hold a shared lock: the exclusive one shows that nobody else has.
	if alone, err := flock(d.self, exclusive); err != nil || !alone {
		return err
	}
	return rmdirAll(d.made)
}

// at calls call with a path to name that fits into the address of a socket, however long the directory's own is.
func (d *Directory) at(name string, call func(path string) error) error {
	if !d.viaProc {
		path := filepath.Join(d.path, name)
		if len(path) > maxSocketPath {
			return fmt.Errorf("the path %s has %d bytes, and the address of a socket has room for %d: "+
				"choose a shorter directory", path, len(path), maxSocketPath)
		}
		return call(path)
	}
	raw, err := d.self.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	// Control keeps the descriptor open, so that its number stays ours during the call.
	err = raw.Control(func(fd uintptr) { callErr = call(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name)) })
	return errors.Join(err, callErr)
}

// holds reports whether file is what name stands for.
func (d *Directory) holds(name string, file *os.File) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := d.root.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

func checkKind(path string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("it is a symbolic link, which others could turn: name the directory itself, or rm %q", path)
	case !info.IsDir():
		return fmt.Errorf("it is not a directory (%v): choose another path, or rm %q", info.Mode(), path)
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

func explainLength(path string, err error) error {
	if !errors.Is(err, syscall.ENAMETOOLONG) {
		return err
	}
	for element := range strings.SplitSeq(path, string(filepath.Separator)) {
		if len(element) > maxElement {
			return fmt.Errorf("%w: %q has %d bytes, and one element of a path can have %d: choose a shorter one",
				syscall.ENAMETOOLONG, element, len(element), maxElement)
		}
	}
	return fmt.Errorf("%w: the path has %d bytes, more than this system takes: choose a directory nearer to the root",
		syscall.ENAMETOOLONG, len(path))
}

// mkdirAll is os.MkdirAll for mode 0700 that returns what it made, the deepest first, even when it fails half-way.
func mkdirAll(path string) (made []string, err error) {
	err = os.Mkdir(path, 0o700)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		if made, err = mkdirAll(parent); err == nil {
			err = os.Mkdir(path, 0o700)
		}
	}
	if err == nil {
		return slices.Insert(made, 0, path), nil
	}
	if errors.Is(err, fs.ErrExist) {
		return made, nil // what it is, the caller looks at
	}
	return made, err
}

// rmdirAll removes directories up to the first that is not empty.
func rmdirAll(paths []string) error {
	for _, path := range paths {
		err := rmdir(path)
		if errors.Is(err, fs.ErrExist) { // ENOTEMPTY
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
