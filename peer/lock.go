package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	masterLock = "master.lock"
	lockWait   = 50 * time.Millisecond // for those who hold a lock for a moment, to ask
	retryDelay = time.Millisecond
	maxOwner   = 4096 // bytes read from a lock that is held
)

// errBusy says that a lock is held, or that what was locked is no longer what its name stands for.
var errBusy = errors.New("held by another process")

// Owner says who holds the lock of a cluster. It is the content of the lock file, as JSON, so that a person can read
// it too.
type Owner struct {
	PID     int       `json:"pid"`
	Cluster string    `json:"cluster"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
}

// LockedError is the error of [Directory.Lock] when another process holds the lock.
type LockedError struct {
	Path  string // of the lock file
	Owner Owner  // zero when the file could not be read
}

func (e *LockedError) Error() string {
	if e.Owner == (Owner{}) {
		return fmt.Sprintf("peer: lock %s: another process holds it: stop that one, or choose another name or directory",
			e.Path)
	}
	return fmt.Sprintf("peer: lock %s: process %d holds it for cluster %q at %s, since %s: "+
		"stop that one, or choose another name or directory",
		e.Path, e.Owner.PID, e.Owner.Cluster, e.Owner.Address, e.Owner.Since.Format(time.RFC3339))
}

// Lock is the lock of a cluster. Its holder is the master.
type Lock struct {
	release func() error
}

// Lock takes the lock of the cluster, which the kernel releases when the process dies. It waits 50 ms at most, and
// fails with a [*LockedError] when another process has it.
func (d *Directory) Lock(owner Owner) (*Lock, error) {
	file, err := d.acquire(masterLock)
	path := filepath.Join(d.path, masterLock)
	if errors.Is(err, errBusy) {
		return nil, &LockedError{Path: path, Owner: d.readOwner()}
	}
	if err != nil {
		return nil, fmt.Errorf("peer: lock %s: %w", path, err)
	}
	release := sync.OnceValue(func() error { return d.releaseFile(masterLock, file) })
	if err := writeOwner(file, owner); err != nil {
		return nil, fmt.Errorf("peer: lock %s: %w", path, errors.Join(err, release()))
	}
	return &Lock{release: release}, nil
}

// Release removes the lock's file and then gives up the lock. It may be called again.
func (l *Lock) Release() error {
	if err := l.release(); err != nil {
		return fmt.Errorf("peer: release lock: %w", err)
	}
	return nil
}

// Locked reports whether a process, perhaps our own, holds the lock of the cluster now. It never makes a Lock fail that
// runs at the same time: what it takes to find out is held for some microseconds, for which Lock waits.
func (d *Directory) Locked() (bool, error) {
	locked, err := d.locked()
	if err != nil {
		return false, fmt.Errorf("peer: ask for the lock of %s: %w", d.path, err)
	}
	return locked, nil
}

func (d *Directory) locked() (bool, error) {
	file, err := d.openPlain(masterLock, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	free, err := flock(file, shared)
	return !free, errors.Join(err, file.Close())
}

// acquire makes the file name, if absent, and takes its lock for life.
func (d *Directory) acquire(name string) (file *os.File, err error) {
	err = retry(lockWait, func() error {
		file, err = d.tryAcquire(name, os.O_CREATE)
		return err
	})
	return file, err
}

// tryAcquire opens the file name and takes its lock. errBusy means that someone has it or that the file was removed
// meanwhile: by a master that stops, or by a node that found it before its maker could lock it.
func (d *Directory) tryAcquire(name string, flag int) (*os.File, error) {
	file, err := d.openPlain(name, os.O_RDWR|flag)
	if err != nil {
		return nil, err
	}
	free, err := flock(file, exclusive)
	if err == nil && (!free || !d.holds(name, file)) {
		err = errBusy
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// releaseFile removes the file name, unless it is another one by now, and gives up its lock afterwards: the other way
// round it could be the next owner's file.
func (d *Directory) releaseFile(name string, file *os.File) error {
	var err error
	if d.holds(name, file) {
		err = d.root.Remove(name)
	}
	return errors.Join(err, file.Close())
}

// openPlain opens a plain file. It follows no link, and does not wait for the other end of a pipe.
func (d *Directory) openPlain(name string, flag int) (*os.File, error) {
	if info, err := d.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		path := filepath.Join(d.path, name)
		return nil, fmt.Errorf("%s is not a plain file (%v): rm -r %q", path, info.Mode(), path)
	}
	return d.root.OpenFile(name, flag, 0o600)
}

func (d *Directory) readOwner() (owner Owner) {
	file, err := d.openPlain(masterLock, os.O_RDONLY)
	if err != nil {
		return Owner{}
	}
	defer file.Close()
	content := make([]byte, maxOwner)
	n, _ := file.Read(content)
	if json.Unmarshal(content[:n], &owner) != nil {
		return Owner{}
	}
	return owner
}

func writeOwner(file *os.File, owner Owner) error {
	content, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	if err := file.Truncate(0); err != nil { // a master that was killed has left its own
		return err
	}
	_, err = file.Write(append(content, '\n'))
	return err
}

// retry calls try again, for about wait, while what it needs is busy or was removed under its hands.
func retry(wait time.Duration, try func() error) error {
	for end := time.Now().Add(wait); ; time.Sleep(retryDelay) {
		err := try()
		if !errors.Is(err, errBusy) && !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			return err
		}
	}
}
