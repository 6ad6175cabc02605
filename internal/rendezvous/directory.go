package rendezvous

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	maxElement  = 255         // NAME_MAX of all file systems that matter
	openWait    = time.Second // how long Open tries while other processes make and remove the directory
	eventBuffer = 64          // events that become one scan
)

// DefaultPath returns the path of the rendezvous directory of the cluster of that name:
// $XDG_RUNTIME_DIR/multinode/NAME when XDG_RUNTIME_DIR names a directory of ours by an absolute path, else
// multinode-UID/NAME in the directory for temporary files. It creates nothing.
//
// The name of a cluster has 1 to 64 letters, digits, dots, hyphens and underscores, and no dot in front.
func DefaultPath(name string) (string, error) {
	if err := CheckCluster(name); err != nil {
		return "", fmt.Errorf("default directory: %w", err)
	}
	if base := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		if info, err := os.Stat(base); err == nil && info.IsDir() && owner(info) == os.Geteuid() {
			return filepath.Join(base, "multinode", name), nil
		}
	}
	base := filepath.Join(os.TempDir(), fmt.Sprintf("multinode-%d", os.Geteuid()))
	// Any user can make it there before us, and could exchange our files in it.
	if info, err := os.Lstat(base); err == nil {
		if err := errors.Join(checkKind(info), checkAccess(base, info)); err != nil {
			return "", fmt.Errorf("default directory %s: %w", base, err)
		}
	}
	return filepath.Join(base, name), nil
}

// Directory is an open rendezvous directory. Its methods may be called concurrently, except Close and Remove, which are the
// last calls. While one process has the directory open, Remove of another process leaves it in place.
//
// If the directory or its files are removed from outside, [Directory.Mend] makes it again, with the [Lock] of this process,
// and [Publication.Mend] the files of a node.
type Directory struct {
	path string

	lock    atomic.Pointer[Lock] // nil: none is held
	mending sync.Mutex           // held by Mend

	mu     sync.RWMutex // read-locked while folder is used: Mend closes the old folder
	folder *folder      // guarded by mu
	made   []string     // guarded by mu; what Open made, the deepest first
	parent fs.FileInfo  // guarded by mu; of path
	remade int          // guarded by mu; how often
}

// Open opens the rendezvous directory at path, and makes it and its parents, with mode 0700, if absent.
//
// It refuses a symbolic link, anything else that is not a directory, a directory of another user, and a directory with any
// right for the group or others. The error says what is wrong and how to fix it.
func Open(path string) (*Directory, error) {
	d, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	return d, nil
}

func open(path string) (*Directory, error) {
	if !supported {
		return nil, fmt.Errorf("on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, made, err := makeFolder(path)
	if err != nil {
		return nil, err
	}
	parent, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, errors.Join(err, f.close(), rmdirAll(made))
	}
	return &Directory{path: path, folder: f, made: made, parent: parent}, nil
}

// makeFolder opens the folder at path, and makes it if absent. It returns what it has made, the deepest first.
func makeFolder(path string) (f *folder, made []string, err error) {
	// Between two steps another process may remove the directory: then makeFolder starts over.
	err = retry(openWait, func() error {
		fresh, err := mkdirAll(path)
		made = slices.Concat(fresh, made)
		if err == nil {
			f, err = openFolder(path)
		}
		return err
	}, errBusy, fs.ErrNotExist)
	if err != nil {
		return nil, nil, errors.Join(explainLength(path, err), rmdirAll(made))
	}
	return f, made, nil
}

// Path returns the absolute path of the directory.
func (d *Directory) Path() string { return d.path }

// Close closes the directory and leaves it in place. It may be called again.
func (d *Directory) Close() error {
	f, done := d.use()
	defer done()
	return f.close()
}

// Remove removes the files of killed nodes, then the directory and the parents that were made for it, as far as this Open
// made them and they are empty, and closes it. A directory that another process uses stays; that is not an error.
func (d *Directory) Remove() error {
	f, done := d.use()
	defer done()
	err := f.remove(d.made)
	if err = errors.Join(err, f.close()); err != nil {
		return fmt.Errorf("remove directory %s: %w", d.path, err)
	}
	return nil
}

// Remade returns how often the directory was made again. A watch that began before watches a removed directory.
func (d *Directory) Remade() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.remade
}

// Watch returns a watcher of the directory.
func (d *Directory) Watch() (*fsnotify.Watcher, error) {
	f, done := d.use()
	defer done()
	watcher, err := fsnotify.NewBufferedWatcher(eventBuffer)
	if err != nil {
		return nil, err
	}
	if err := f.at(".", watcher.Add); err != nil {
		_ = watcher.Close() // nothing was watched
		return nil, err
	}
	return watcher, nil
}

// use returns the folder, which stays open until done is called.
func (d *Directory) use() (f *folder, done func()) {
	d.mu.RLock()
	return d.folder, d.mu.RUnlock
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
		return made, nil // the caller checks what it is
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
