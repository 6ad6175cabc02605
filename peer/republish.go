package peer

import (
	"cmp"
	"fmt"
	"time"
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

func (k *mending) damage() string { return cmp.Or(k.mesh.dir.damage(), k.mesh.public.damage()) }

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
	if err := m.dir.mend(); err != nil {
		return err
	}
	fresh, old, err := m.public.mend()
	if fresh != nil {
		m.running.Go(func() { m.serve(fresh) }) // ended by server.Close in shutdown, which waits
		_ = old.Close()                         // who waits in its queue dials again
	}
	return err
}
