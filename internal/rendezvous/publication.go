package rendezvous

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Publication is the files of a live node in the directory.
type Publication struct {
	dir  *Directory
	node Node

	mu       sync.Mutex        // taken before the directory's
	lock     *os.File          // guarded by mu; nil after Withdraw
	listener *net.UnixListener // guarded by mu
	socket   fs.FileInfo       // guarded by mu; the file with the listener's name
	isMaster bool              // guarded by mu; the link to the master leads to it
}

// Publish makes the lock file, locks it for life, listens on a socket with a hidden name, and renames it. So a socket with
// its final name listens, and its lock file was made before it.
func (d *Directory) Publish(n Node) (*Publication, error) {
	if err := d.Mend(); err != nil { // it may have been removed since it was opened
		return nil, err
	}
	f, done := d.use()
	defer done()
	lock, err := f.acquire(n.LockName())
	if errors.Is(err, errBusy) {
		err = fmt.Errorf("node %v is in use by another process, which holds %s: choose another incarnation",
			n, filepath.Join(f.path, n.LockName()))
	}
	if err != nil {
		return nil, err
	}
	listener, socket, err := f.listen(n)
	if err != nil {
		return nil, errors.Join(err, f.releaseFile(n.LockName(), lock))
	}
	return &Publication{dir: d, node: n, lock: lock, listener: listener, socket: socket}, nil
}

// Listener returns the listener on the node's socket. The caller owns and closes it.
func (p *Publication) Listener() *net.UnixListener {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listener
}

// listen makes the socket of a node whose lock is held.
func (f *folder) listen(n Node) (*net.UnixListener, fs.FileInfo, error) {
	if info, err := f.root.Lstat(n.SocketName()); err == nil && info.Mode().Type() != fs.ModeSocket {
		path := filepath.Join(f.path, n.SocketName())
		return nil, nil, errNotMade(path, "a socket", info)
	}
	if err := f.removeSocket(n.hidden()); err != nil { // left by a process that failed half-way
		return nil, nil, err
	}
	var listener *net.UnixListener
	err := f.at(n.hidden(), func(path string) (err error) {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	listener.SetUnlinkOnClose(false) // it would remove by the name at bind, and the socket was renamed
	info, err := f.root.Lstat(n.hidden())
	if err == nil {
		err = f.root.Rename(n.hidden(), n.SocketName())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.removeSocket(n.hidden()), listener.Close())
	}
	return listener, info, nil
}

// Withdraw removes the files, the socket first, so that no socket is ever found without its lock.
func (p *Publication) Withdraw() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, done := p.dir.use()
	defer done()
	var err error
	if p.isMaster {
		err = f.unlinkMaster(p.node)
	}
	err = errors.Join(err, f.removeSockets(p.node), f.releaseFile(p.node.LockName(), p.lock))
	p.lock = nil
	return err
}

// Nodes returns the nodes that have files in the directory, and whether they are published: have a socket with its final
// name.
func (d *Directory) Nodes() (map[Node]bool, error) {
	f, done := d.use()
	defer done()
	return f.nodes()
}

// Present is Nodes, with an error while the directory is not in place.
func (d *Directory) Present() (map[Node]bool, error) {
	f, done := d.use()
	defer done()
	if !f.inPlace() {
		return nil, errors.New("it was removed")
	}
	return f.nodes()
}

func (f *folder) nodes() (map[Node]bool, error) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was removed
		return nil, err
	}
	nodes := make(map[Node]bool)
	for _, entry := range entries {
		if n, ok := parseFile(entry.Name()); ok {
			nodes[n] = nodes[n] || entry.Name() == n.SocketName() && entry.Type() == fs.ModeSocket
		}
	}
	return nodes, nil
}

// Sweep removes the files of a node that is dead, and reports whether it is gone. A node is dead if its lock can be taken,
// or if it has no files: the lock file is made first and removed last. A refused connection proves nothing, nor does a pid.
// While another process sweeps, the lock is held for a moment and the node seems alive, as it does while the directory is
// removed: call Sweep again.
func (d *Directory) Sweep(n Node) (gone bool, err error) {
	f, done := d.use()
	defer done()
	if !f.inPlace() {
		return false, nil
	}
	return f.sweep(n)
}

func (f *folder) sweep(n Node) (gone bool, err error) {
	lock, err := f.tryAcquire(n.LockName(), 0)
	if errors.Is(err, fs.ErrNotExist) {
		if !f.hasSocket(n) {
			return true, nil
		}
		// Only the lock file was removed. The node may be about to make it again: files that are removed now, with its lock
		// held, it then makes again as well.
		lock, err = f.tryAcquire(n.LockName(), os.O_CREATE)
	}
	if errors.Is(err, errBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(f.unlinkMaster(n), f.removeSockets(n), f.releaseFile(n.LockName(), lock))
}

// Alive returns how many nodes live in the directory, whether or not they have a master, and removes the files of dead
// nodes.
func (d *Directory) Alive() (int, error) {
	f, done := d.use()
	defer done()
	alive, err := f.sweepAll()
	if err != nil {
		return 0, fmt.Errorf("look for nodes in %s: %w", d.path, err)
	}
	return alive, nil
}

// sweepAll sweeps all dead nodes, and counts the others.
func (f *folder) sweepAll() (alive int, err error) {
	nodes, err := f.nodes()
	for n := range nodes {
		gone, sweepErr := f.sweep(n)
		err = errors.Join(err, sweepErr)
		if !gone {
			alive++
		}
	}
	return alive, err
}

func (f *folder) hasSocket(n Node) bool {
	for _, name := range []string{n.hidden(), n.SocketName()} {
		if info, err := f.root.Lstat(name); err == nil && info.Mode().Type() == fs.ModeSocket {
			return true
		}
	}
	return false
}

func (f *folder) removeSockets(n Node) error {
	return errors.Join(f.removeSocket(n.hidden()), f.removeSocket(n.SocketName()))
}

// removeSocket removes a socket and nothing else: a plain file or a link with that name is not ours. A missing socket is not
// an error.
func (f *folder) removeSocket(name string) error {
	info, err := f.root.Lstat(name)
	if err == nil && info.Mode().Type() == fs.ModeSocket {
		err = f.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Dial connects to the socket of a node.
func (d *Directory) Dial(n Node) (*net.UnixConn, error) {
	f, done := d.use()
	defer done()
	return f.dial(n.SocketName())
}
