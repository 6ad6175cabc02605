package peer

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

const (
	mendDelay    = 100 * time.Millisecond // so that whoever removes the directory comes to the end
	mendInterval = time.Second            // after a failure
)

// mending notices when somebody removes what this node has in the directory, and makes it again. Links and streams are
// not touched: only new ones need the directory.
type mending struct {
	mesh  *Mesh
	timer *time.Timer
	due   bool   // timer runs
	last  string // logged
}

func newMending(m *Mesh) *mending {
	timer := time.NewTimer(mendDelay)
	timer.Stop()
	return &mending{mesh: m, timer: timer}
}

func (k *mending) damage() string { return cmp.Or(k.mesh.dir.Damage(), k.mesh.public.Damage()) }

// look reports whether something is amiss, and sees to it that it is mended.
func (k *mending) look() bool {
	if k.due {
		return true
	}
	if k.damage() == "" {
		return false
	}
	k.due = true
	k.timer.Reset(mendDelay)
	return true
}

// mend publishes this node again, when its timer says so.
func (k *mending) mend() {
	k.due = false
	what := k.damage()
	if what == "" {
		return
	}
	err := k.mesh.republish()
	if err == nil {
		k.last = ""
		k.mesh.log.Warn("somebody has removed what is in use; it is there again", "removed", what)
		return
	}
	k.due = true
	k.timer.Reset(mendInterval)
	if text := fmt.Sprint(err); text != k.last {
		k.last = text
		k.mesh.log.Warn("somebody has removed what is in use; new nodes do not find this one until it is there again",
			"removed", what, "error", err)
	}
}

// republish makes again what was removed, and listens on the new socket before it leaves the old one.
func (m *Mesh) republish() error {
	if err := m.dir.Mend(); err != nil {
		return err
	}
	fresh, old, err := m.public.Mend()
	if fresh != nil {
		m.running.Go(func() { m.serve(fresh) }) // ended by server.Close in shutdown, which waits
		_ = old.Close()                         // who waits in its queue dials again
	}
	return err
}

// publish publishes this node, and shows where the master is if it is this one.
func (m *Mesh) publish() (*rendezvous.Publication, error) {
	p, err := m.dir.Publish(m.self.node())
	if err != nil {
		return nil, err
	}
	if m.opts.NextID != nil && !m.opts.Unshown {
		if err := p.ShowMaster(); err != nil {
			return nil, errors.Join(err, p.Withdraw(), p.Listener().Close())
		}
	}
	return p, nil
}

// ShowMaster leads master.sock to this node: for the first time if it has joined with Options.Unshown, or again, after another one
// that was to be the master, and is not. It is for a node with Options.NextID.
func (m *Mesh) ShowMaster() error {
	if m.opts.NextID == nil {
		return errors.New("peer: show the master: this node has no NextID")
	}
	if err := m.public.ShowMaster(); err != nil {
		return fmt.Errorf("peer: show the master: %w", err)
	}
	return nil
}
