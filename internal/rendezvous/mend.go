package rendezvous

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
)

// Mend makes the directory again if it was removed, with the lock of the cluster if that is held. It has no effect on
// what is in place.
func (d *Directory) Mend() error {
	d.mending.Lock()
	defer d.mending.Unlock()
	f, done := d.use()
	inPlace := f.inPlace()
	done()
	if !inPlace {
		if err := d.reopen(); err != nil {
			return fmt.Errorf("make the directory %s again: %w", d.path, err)
		}
	}
	if lock := d.lock.Load(); lock != nil {
		return lock.mend()
	}
	return nil
}

// reopen opens the directory that is at the path now. If its parent is another one by now, only we may have rights to that:
// the user that made it again before us could exchange our files in it.
func (d *Directory) reopen() error {
	fresh, made, err := makeFolder(d.path)
	if err != nil {
		return err
	}
	above := filepath.Dir(d.path)
	parent, err := os.Stat(above)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && (!os.SameFile(parent, d.parent) || owner(parent) != owner(d.parent)) {
		if err = checkAccess(above, parent); err != nil {
			err = fmt.Errorf("%s: %w", above, err)
		}
	}
	if err != nil {
		return errors.Join(err, fresh.close(), rmdirAll(made))
	}
	old := d.folder
	d.folder, d.parent = fresh, parent
	d.remade++
	d.made = append(d.made, made...)
	slices.SortFunc(d.made, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // each is above the one before
	d.made = slices.Compact(d.made)
	return old.close()
}

// Damage names what is no longer as this process has made it, or returns "".
func (d *Directory) Damage() string {
	f, done := d.use()
	defer done()
	if !f.inPlace() {
		return "the directory " + d.path
	}
	if lock := d.lock.Load(); lock != nil && !lock.inPlace(f) {
		return "the lock file " + filepath.Join(d.path, masterLock)
	}
	return ""
}

// inPlace reports whether the name of the lock still leads to it, or it was released.
func (l *Lock) inPlace(f *folder) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file == nil || f.holds(masterLock, l.file)
}

// mend takes the lock again if its file was removed. Another process may have taken it meanwhile.
func (l *Lock) mend() error {
	f, done := l.dir.use()
	defer done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil || f.holds(masterLock, l.file) {
		return nil
	}
	file, owner, err := f.lockMaster(l.owner)
	if err != nil {
		return fmt.Errorf("the lock of the cluster is lost: %w", err)
	}
	_ = l.file.Close() // it locked a file without a name
	l.file, l.owner = file, owner
	return nil
}

// Damage names what is no longer as the node has made it, or returns "".
func (p *Publication) Damage() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, done := p.dir.use()
	defer done()
	switch {
	case p.lock == nil: // withdrawn
		return ""
	case !f.holds(p.node.LockName(), p.lock):
		return "the lock file " + filepath.Join(f.path, p.node.LockName())
	case !p.holdsSocket(f):
		return "the socket " + filepath.Join(f.path, p.node.SocketName())
	case p.isMaster && !f.hasMaster():
		return "the link " + filepath.Join(f.path, masterSocket)
	}
	return ""
}

func (p *Publication) holdsSocket(f *folder) bool {
	named, err := f.root.Lstat(p.node.SocketName())
	return err == nil && os.SameFile(p.socket, named)
}

// Mend makes the files again that were removed. If the socket was among them, it returns the new listener, and the old
// one, which the caller closes, also beside an error.
func (p *Publication) Mend() (fresh, old *net.UnixListener, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lock == nil { // withdrawn
		return nil, nil, nil
	}
	f, done := p.dir.use()
	defer done()
	if !f.holds(p.node.LockName(), p.lock) {
		lock, err := f.acquire(p.node.LockName())
		if err != nil {
			return nil, nil, err
		}
		_ = p.lock.Close() // it locked a file without a name
		p.lock = lock
	}
	if !p.holdsSocket(f) { // after the lock: without it, another node may have removed the socket
		var socket fs.FileInfo
		if fresh, socket, err = f.listen(p.node); err != nil {
			return nil, nil, err
		}
		old, p.listener, p.socket = p.listener, fresh, socket
	}
	if p.isMaster && !f.hasMaster() {
		err = f.linkMaster(p.node)
	}
	return fresh, old, err
}
