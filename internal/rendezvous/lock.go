package rendezvous

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	masterLock = "master.lock"
	ownerWait  = 50 * time.Millisecond // for an owner that is about to release it, or to write its Owner
	askWait    = 5 * time.Second       // for processes that hold it briefly, to see if it is free: they may lose the CPU
	retryDelay = time.Millisecond
	maxOwner   = 4096 // bytes read from a lock that is held
)

var (
	errOwned = errors.New("it has an owner")
	// errBusy: a lock is held, or its file is no longer the one with that name.
	errBusy = errors.New("another process is busy with it")
)

// Owner identifies the holder of the lock of a cluster. It is the content of the lock file, as JSON, so that people can
// read it, too.
type Owner struct {
	PID     int       `json:"pid"`
	Cluster string    `json:"cluster"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	// LastID is the highest id that was assigned so far; see Lock.NextID.
	LastID int `json:"last_id"`
	// Made is how many directories were made for the cluster, from the rendezvous directory upwards. The last holder of the
	// lock removes them.
	Made int `json:"made,omitempty"`
	// Paused are the ids of the nodes that get no new connections until they are resumed; see Lock.Pause.
	Paused []int `json:"paused,omitempty"`
}

// LockedError is the error of [Directory.Lock] when another process holds the lock.
type LockedError struct {
	Path  string // of the lock file
	Owner Owner  // zero when the file could not be read
}

func (e *LockedError) Error() string {
	if e.Owner.PID == 0 {
		return fmt.Sprintf("lock %s: another process holds it: stop that one, or choose another name or directory",
			e.Path)
	}
	return fmt.Sprintf("lock %s: process %d holds it for cluster %q at %s, since %s: "+
		"stop that one, or choose another name or directory",
		e.Path, e.Owner.PID, e.Owner.Cluster, e.Owner.Address, e.Owner.Since.Format(time.RFC3339))
}

// Lock is the lock of a cluster. Its holder is the master, and assigns the ids.
type Lock struct {
	dir *Directory

	mu    sync.Mutex // taken after the directory's
	file  *os.File   // guarded by mu; nil after Release
	owner Owner      // guarded by mu
}

// LastOwner returns the holder of the lock of the cluster, or the last one if it was killed, from the lock file.
func (d *Directory) LastOwner() Owner {
	f, done := d.use()
	defer done()
	return f.readOwner()
}

// Lock takes the lock of the cluster, which the kernel releases when the process dies. When another process holds it, Lock
// fails after 50 ms with a [*LockedError]. The ids of earlier holders that were killed are not assigned again; after a
// holder that released the lock, ids start again.
func (d *Directory) Lock(owner Owner) (*Lock, error) {
	d.mu.RLock()
	owner.Made = len(d.made)
	file, owner, err := d.folder.lockMaster(owner)
	d.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	d.inherit(owner.Made)
	l := &Lock{dir: d, owner: owner, file: file}
	d.lock.Store(l)
	return l, nil
}

// inherit makes Remove remove the directories that an earlier holder of the lock has made.
func (d *Directory) inherit(made int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := d.path; len(d.made) < made && path != filepath.Dir(path); path = filepath.Dir(path) {
		if !slices.Contains(d.made, path) {
			d.made = append(d.made, path)
		}
	}
}

// Release removes the lock's file and then releases the lock. It may be called again.
func (l *Lock) Release() error {
	f, done := l.dir.use()
	defer done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	l.dir.lock.CompareAndSwap(l, nil)
	err := f.releaseFile(masterLock, l.file)
	l.file = nil
	if err != nil {
		return fmt.Errorf("release lock: %w", err)
	}
	return nil
}

// NextID returns an id that no node of this cluster ever had, from 1 on. It is written to the file before it is returned. It
// may be called concurrently.
func (l *Lock) NextID() (int, error) {
	f, done := l.dir.use()
	defer done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return 0, fmt.Errorf("next id: the lock %s was released", filepath.Join(f.path, masterLock))
	}
	owner := l.owner
	owner.LastID++
	if err := writeOwner(l.file, owner); err != nil {
		return 0, fmt.Errorf("next id: write %s: %w", filepath.Join(f.path, masterLock), err)
	}
	l.owner = owner
	return owner.LastID, nil
}

// MasterID returns an id for the holder: 0 in a new cluster, else an id that no node ever had.
func (l *Lock) MasterID() (int, error) {
	l.mu.Lock()
	isNew := l.owner.LastID == 0
	l.mu.Unlock()
	if isNew {
		return 0, nil
	}
	return l.NextID()
}

// Pause records whether a node is paused. The next owner reads it.
func (l *Lock) Pause(id int, is bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errors.New("the lock is another master's")
	}
	owner := l.owner
	owner.Paused = slices.DeleteFunc(slices.Clone(owner.Paused), func(o int) bool { return o == id })
	if is {
		owner.Paused = append(owner.Paused, id)
	}
	if err := writeOwner(l.file, owner); err != nil {
		return fmt.Errorf("write who is paused: %w", err)
	}
	l.owner = owner
	return nil
}

// SetAddress records the owner's address, which may not be known when the lock is taken.
func (l *Lock) SetAddress(address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || l.owner.Address == address {
		return nil
	}
	owner := l.owner
	owner.Address = address
	if err := writeOwner(l.file, owner); err != nil {
		return fmt.Errorf("write who holds the lock: %w", err)
	}
	l.owner = owner
	return nil
}

// HandOver releases the lock and leaves its file, so that the next holder continues our ids. It may be called again.
func (l *Lock) HandOver() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	l.dir.lock.CompareAndSwap(l, nil)
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return fmt.Errorf("hand over lock: %w", err)
	}
	return nil
}

// Locked reports whether a process, perhaps our own, holds the lock of the cluster now. It never makes a concurrent Lock
// fail.
func (d *Directory) Locked() (bool, error) {
	f, done := d.use()
	defer done()
	locked, err := f.locked()
	if err != nil {
		return false, fmt.Errorf("ask for the lock of %s: %w", d.path, err)
	}
	return locked, nil
}

// lockMaster takes the lock of the cluster, and writes its owner into it. The ids continue after the last one.
func (f *folder) lockMaster(owner Owner) (*os.File, Owner, error) {
	path := filepath.Join(f.path, masterLock)
	file, err := f.acquireMaster()
	if errors.Is(err, errOwned) {
		return nil, owner, &LockedError{Path: path, Owner: f.readOwner()}
	}
	if err != nil {
		return nil, owner, fmt.Errorf("lock %s: %w", path, err)
	}
	nodes, err := f.nodes()
	before := f.readOwner() // of a holder that was killed, or has handed over
	owner.LastID, owner.Made, owner.Paused = max(owner.LastID, before.LastID), max(owner.Made, before.Made), before.Paused
	for n := range nodes {
		owner.LastID = max(owner.LastID, n.ID)
	}
	if err = errors.Join(err, writeOwner(file, owner)); err != nil {
		return nil, owner, fmt.Errorf("lock %s: %w", path, errors.Join(err, f.releaseFile(masterLock, file)))
	}
	return file, owner, nil
}

func (f *folder) locked() (bool, error) {
	file, err := f.openPlain(masterLock, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Many processes may look at once, and are not mistaken for an owner: a shared lock leaves room for another shared one.
	free, err := flock(file, shared)
	return err == nil && !free, errors.Join(err, file.Close())
}

// acquireMaster takes the lock of the cluster. It returns errOwned when there is an owner.
func (f *folder) acquireMaster() (file *os.File, err error) {
	patience := time.Now().Add(ownerWait)
	err = retry(askWait, func() error {
		file, err = f.tryAcquire(masterLock, os.O_CREATE)
		if !errors.Is(err, errBusy) || time.Now().Before(patience) {
			return err
		}
		if owned, askErr := f.locked(); askErr != nil || owned {
			return cmp.Or(askErr, errOwned)
		}
		return err
	}, errBusy)
	return file, err
}

// acquire makes the file name and takes its lock, for life. Only a sweep can hold it, for a moment.
func (f *folder) acquire(name string) (file *os.File, err error) {
	err = retry(askWait, func() error {
		file, err = f.tryAcquire(name, os.O_CREATE)
		return err
	}, errBusy)
	return file, err
}

// tryAcquire opens the file name and takes its lock. errBusy means that another process has it or that the file was removed
// meanwhile: by a master that stops, or by a node that found it before its maker could lock it.
func (f *folder) tryAcquire(name string, flag int) (*os.File, error) {
	file, err := f.openPlain(name, os.O_RDWR|flag)
	if err != nil {
		return nil, err
	}
	free, err := flock(file, exclusive)
	if err == nil && (!free || !f.holds(name, file)) {
		err = errBusy
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// releaseFile removes the file name, unless it is another one by now, and releases its lock afterwards: the other way
// round it could be the next owner's file.
func (f *folder) releaseFile(name string, file *os.File) error {
	var err error
	if f.holds(name, file) {
		err = f.root.Remove(name)
	}
	return errors.Join(err, file.Close())
}

// openPlain opens a plain file. It follows no link, and does not wait for the other end of a pipe.
func (f *folder) openPlain(name string, flag int) (*os.File, error) {
	if info, err := f.root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		path := filepath.Join(f.path, name)
		return nil, errNotMade(path, "a plain file", info)
	}
	return f.root.OpenFile(name, flag, 0o600)
}

func (f *folder) readOwner() (owner Owner) {
	file, err := f.openPlain(masterLock, os.O_RDONLY)
	if err != nil {
		return Owner{}
	}
	defer file.Close()
	content, _ := io.ReadAll(io.LimitReader(file, maxOwner))
	line, _, _ := bytes.Cut(content, []byte("\n")) // after it may be the rest of a longer owner
	if json.Unmarshal(line, &owner) != nil {
		return Owner{}
	}
	return owner
}

// writeOwner overwrites the file in one step: a writer that is killed leaves the old content or the new one. The new content
// is never shorter for the same owner; the rest of a longer one of another owner is cut off.
func writeOwner(file *os.File, owner Owner) error {
	content, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	content = append(content, '\n')
	if _, err := file.WriteAt(content, 0); err != nil {
		return err
	}
	return file.Truncate(int64(len(content)))
}

// retry calls try, for about wait, until its result is not one of the passing errors.
func retry(wait time.Duration, try func() error, passing ...error) error {
	for end := time.Now().Add(wait); ; time.Sleep(retryDelay) {
		err := try()
		isErr := func(target error) bool { return errors.Is(err, target) }
		if !slices.ContainsFunc(passing, isErr) || time.Now().After(end) {
			return err
		}
	}
}
