package peer

import (
	"cmp"
	"fmt"
	"time"
)

const (
	mendDelay    = 100 * time.Millisecond // so that a removal of the directory can finish
	mendInterval = time.Second            // after a failure
)

// mending notices that files of this node were removed from the directory, and makes them again. Links and streams are
// not touched: only new ones need the directory.
type mending struct {
	presence *presence
	timer    *time.Timer
	due      bool   // timer runs
	last     string // logged
}

func newMending(p *presence) *mending {
	timer := time.NewTimer(mendDelay)
	timer.Stop()
	return &mending{presence: p, timer: timer}
}

func (k *mending) damage() string { return cmp.Or(k.presence.dir.Damage(), k.presence.public.Damage()) }

// look reports whether there is damage, and sets the timer to mend it.
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

// mend makes again what was removed. It is called when the timer has fired.
func (k *mending) mend() {
	k.due = false
	what := k.damage()
	if what == "" {
		return
	}
	err := k.presence.republish()
	if err == nil {
		k.last = ""
		k.presence.log.Warn("what is in use was removed; it is there again", "removed", what)
		return
	}
	k.due = true
	k.timer.Reset(mendInterval)
	if text := fmt.Sprint(err); text != k.last {
		k.last = text
		k.presence.log.Warn("what is in use was removed; new nodes do not find this one until it is there again",
			"removed", what, "error", err)
	}
}

// republish makes again what was removed, and listens on the new socket before it closes the old one.
func (p *presence) republish() error {
	if err := p.dir.Mend(); err != nil {
		return err
	}
	fresh, old, err := p.public.Mend()
	if fresh != nil {
		p.running.Go(func() { p.server.Serve(fresh) }) // ended by server.Close in shutdown, which waits
		_ = old.Close()                                // the clients in its queue dial again
	}
	return err
}
