package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// publication is what a node has in the directory while it lives.
type publication struct {
	dir      *Directory
	node     node
	lock     *os.File
	listener *net.UnixListener
}

// publish makes the lock file, locks it for life, listens on a socket of a hidden name, and gives it the final one. So
// a socket that can be found is one that listens, and its lock file was there before it.
func (d *Directory) publish(n node) (*publication, error) {
	lock, err := d.acquire(n.lock())
	if err != nil {
		return nil, err
	}
	p := &publication{dir: d, node: n, lock: lock}
	err = d.at(n.hidden(), func(path string) (err error) {
		p.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, errors.Join(err, p.withdraw())
	}
	p.listener.SetUnlinkOnClose(false) // it would remove by the name of the bind, which is not the socket's any more
	if err := d.root.Rename(n.hidden(), n.socket()); err != nil {
		return nil, errors.Join(err, p.withdraw(), p.listener.Close())
	}
	return p, nil
}

// withdraw removes the files, the socket first, so that none is ever found without its lock.
func (p *publication) withdraw() error {
	return errors.Join(p.dir.removeSockets(p.node), p.dir.releaseFile(p.node.lock(), p.lock))
}

// nodes returns the nodes that have files in the directory, and whether they are published: have a socket of the final
// name.
func (d *Directory) nodes() (map[node]bool, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	nodes := make(map[node]bool)
	for _, entry := range entries {
		if n, ok := parseFile(entry.Name()); ok {
			nodes[n] = nodes[n] || entry.Name() == n.socket() && entry.Type() == fs.ModeSocket
		}
	}
	return nodes, nil
}

// sweep removes the files of a node that is dead, and reports whether it is gone. Dead is whose lock can be taken, or
// who has none: the lock file is the first to come and the last to go. A refused connection proves nothing, nor does a
// pid. When another process sweeps at the same time, the lock is held for that moment and the node seems alive; who
// wants to know asks again.
func (d *Directory) sweep(n node) (gone bool, err error) {
	lock, err := d.tryAcquire(n.lock(), 0)
	switch {
	case errors.Is(err, errBusy):
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		return true, d.removeSockets(n)
	case err != nil:
		return false, err
	}
	return true, errors.Join(d.removeSockets(n), d.releaseFile(n.lock(), lock))
}

// Alive returns how many nodes live in the directory, whether or not they have a master, and removes the files of those
// that are dead.
func (d *Directory) Alive() (int, error) {
	alive, err := d.sweepAll()
	if err != nil {
		return 0, fmt.Errorf("peer: look for nodes in %s: %w", d.path, err)
	}
	return alive, nil
}

// HighestID returns the highest id of the nodes that have files in the directory, dead or alive, and 0 if there is none:
// who gives out ids goes on from there.
func (d *Directory) HighestID() (int, error) {
	nodes, err := d.nodes()
	if err != nil {
		return 0, fmt.Errorf("peer: look for nodes in %s: %w", d.path, err)
	}
	highest := 0
	for n := range nodes {
		highest = max(highest, n.id)
	}
	return highest, nil
}

// sweepAll sweeps all nodes that are dead, and counts the others.
func (d *Directory) sweepAll() (alive int, err error) {
	nodes, err := d.nodes()
	for n := range nodes {
		gone, sweepErr := d.sweep(n)
		err = errors.Join(err, sweepErr)
		if !gone {
			alive++
		}
	}
	return alive, err
}

func (d *Directory) removeSockets(n node) error {
	return errors.Join(d.removeSocket(n.hidden()), d.removeSocket(n.socket()))
}

// removeSocket removes a socket and nothing else: a plain file or a link of that name is not ours. That there is none
// is not an error.
func (d *Directory) removeSocket(name string) error {
	info, err := d.root.Lstat(name)
	if err == nil && info.Mode().Type() == fs.ModeSocket {
		err = d.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dial connects to the socket of a node.
func (d *Directory) dial(n node) (conn *net.UnixConn, err error) {
	err = d.at(n.socket(), func(path string) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	return conn, err
}
