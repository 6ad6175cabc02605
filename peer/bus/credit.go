package bus

import (
	"sync"
	"time"
)

// ackDelay is how long a peer is not told of what was handled, unless it is much. Until then it counts it as on its way: a
// part of the window. With 5 ms, a broadcast to 15 peers that each answer took a tenth longer.
const ackDelay = 50 * time.Millisecond

// acks are the inboxes of which the peer is still to be told what was handled. There is one timer for all of them, so
// that a message costs none.
type acks struct {
	mu    sync.Mutex
	dirty []*inbox    // guarded by mu
	armed bool        // guarded by mu; the timer runs, and hub.running counts it
	ended bool        // guarded by mu
	timer *time.Timer // guarded by mu; nil before its first use
}

// handled counts a published message that was handled.
func (in *inbox) handled(size int) {
	bytes, messages := in.news.add(uint64(size))
	if bytes >= uint64(in.link.hub.opts.Window/creditShare) || messages >= ledgerMessages/2 {
		in.credit()
	} else if !in.dirty.Load() {
		in.link.acks.add(in)
	}
}

// credit tells the peer what was handled of an inbox. It returns false if there was nothing new.
func (in *inbox) credit() bool {
	in.toldMu.Lock()
	defer in.toldMu.Unlock()
	bytes, messages := in.news.take()
	if messages == 0 {
		return false
	}
	in.bytes += bytes
	in.count += messages
	in.freed.Add(int64(bytes))
	in.link.control(message{kind: kindCredit, id: in.sub.number, count: in.count, bytes: in.bytes})
	return true
}

// add makes sure that the peer will be told of what was handled of an inbox.
func (a *acks) add(in *inbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || in.dirty.Swap(true) {
		return
	}
	a.dirty = append(a.dirty, in)
	if a.armed {
		return
	}
	a.armed = true
	in.link.hub.running.Add(1)
	if a.timer == nil {
		a.timer = time.AfterFunc(ackDelay, in.link.acknowledgeLate)
	} else {
		a.timer.Reset(ackDelay)
	}
}

// acknowledgeLate is called by the timer.
func (l *link) acknowledgeLate() {
	defer l.hub.running.Done()
	l.acks.mu.Lock()
	l.acks.armed = false
	l.acks.mu.Unlock()
	l.acknowledge()
}

// acknowledge tells the peer of all that was handled.
func (l *link) acknowledge() {
	l.acks.mu.Lock()
	dirty := l.acks.dirty
	l.acks.dirty = nil
	l.acks.mu.Unlock()
	for _, in := range dirty {
		in.dirty.Store(false) // first: what is handled from now on adds the inbox again
		if in.credit() {
			l.acks.add(in) // to look again whether it rests
		} else {
			in.rest()
		}
	}
}

// endAcks stops the timer.
func (l *link) endAcks() {
	l.acks.mu.Lock()
	defer l.acks.mu.Unlock()
	l.acks.ended, l.acks.dirty = true, nil
	if l.acks.armed && l.acks.timer.Stop() {
		l.acks.armed = false
		l.hub.running.Done()
	}
}
