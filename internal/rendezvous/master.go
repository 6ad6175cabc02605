package rendezvous

import (
	"errors"
	"io/fs"
	"net"
	"path/filepath"
)

// masterSocket is a symbolic link to the socket of the master, for processes that know no ids: guests, and programs that are
// no nodes. `curl --unix-socket DIR/master.sock` follows it.
const (
	masterSocket       = "master.sock"
	hiddenMasterSocket = hiddenPrefix + masterSocket
)

// ShowMaster makes the link to the master lead to this node. It replaces the link of a killed master.
func (p *Publication) ShowMaster() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, done := p.dir.use()
	defer done()
	p.isMaster = true
	return f.linkMaster(p.node)
}

// DialMaster connects to the socket of the master.
func (d *Directory) DialMaster() (*net.UnixConn, error) {
	f, done := d.use()
	defer done()
	return f.dial(masterSocket)
}

func (f *folder) linkMaster(n Node) error {
	for _, name := range []string{masterSocket, hiddenMasterSocket} {
		if info, err := f.root.Lstat(name); err == nil && info.Mode().Type() != fs.ModeSymlink {
			path := filepath.Join(f.path, name)
			return errNotMade(path, "a symbolic link", info)
		}
	}
	// Left by a process that was killed just here.
	if err := f.root.Remove(hiddenMasterSocket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.root.Symlink(n.SocketName(), hiddenMasterSocket); err != nil {
		return err
	}
	return f.root.Rename(hiddenMasterSocket, masterSocket)
}

// unlinkMaster removes the link, unless it is that of another master by now.
func (f *folder) unlinkMaster(n Node) error {
	target, _ := f.root.Readlink(masterSocket) // "" if there is none
	if target != n.SocketName() {
		return nil
	}
	return f.root.Remove(masterSocket)
}

// hasMaster reports whether the name of the link exists. The link of another master is left alone.
func (f *folder) hasMaster() bool {
	_, err := f.root.Lstat(masterSocket)
	return !errors.Is(err, fs.ErrNotExist)
}
