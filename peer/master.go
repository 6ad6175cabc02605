package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// masterSocket is a symbolic link to the socket of the master, for those who know no ids: guests, and programs that are
// no nodes. `curl --unix-socket DIR/master.sock` follows it.
const (
	masterSocket       = "master.sock"
	hiddenMasterSocket = hiddenPrefix + masterSocket
)

// publish publishes this node, and shows where the master is if it is this one.
func (m *Mesh) publish() (*publication, error) {
	p, err := m.dir.publish(m.self.node())
	if err != nil {
		return nil, err
	}
	if m.opts.NextID != nil && !m.opts.Unshown {
		if err := p.showMaster(); err != nil {
			return nil, errors.Join(err, p.withdraw(), p.listener.Close())
		}
	}
	return p, nil
}

// showMaster makes the link. The one of a master that was killed is replaced.
func (p *publication) showMaster() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, done := p.dir.use()
	defer done()
	p.isMaster = true
	return f.linkMaster(p.node)
}

// ShowMaster leads master.sock to this node: for the first time if it has joined with Options.Unshown, or again, after another one
// that was to be the master, and is not. It is for a node with Options.NextID.
func (m *Mesh) ShowMaster() error {
	if m.opts.NextID == nil {
		return errors.New("peer: show the master: this node has no NextID")
	}
	if err := m.public.showMaster(); err != nil {
		return fmt.Errorf("peer: show the master: %w", err)
	}
	return nil
}

func (f *folder) linkMaster(n node) error {
	for _, name := range []string{masterSocket, hiddenMasterSocket} {
		if info, err := f.root.Lstat(name); err == nil && info.Mode().Type() != fs.ModeSymlink {
			path := filepath.Join(f.path, name)
			return errNotMade(path, "a symbolic link", info)
		}
	}
	// Left by one that was killed just here.
	if err := f.root.Remove(hiddenMasterSocket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.root.Symlink(n.socket(), hiddenMasterSocket); err != nil {
		return err
	}
	return f.root.Rename(hiddenMasterSocket, masterSocket)
}

// unlinkMaster removes the link, unless it is that of another master by now.
func (f *folder) unlinkMaster(n node) error {
	target, _ := f.root.Readlink(masterSocket) // "" if there is none
	if target != n.socket() {
		return nil
	}
	return f.root.Remove(masterSocket)
}

// hasMaster reports whether there is anything of the link's name: what another master has made is not mended.
func (f *folder) hasMaster() bool {
	_, err := f.root.Lstat(masterSocket)
	return !errors.Is(err, fs.ErrNotExist)
}
