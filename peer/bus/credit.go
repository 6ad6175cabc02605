package bus

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// creditShare is the part of the window that is handled before the peer is told, unless it is told because of time.
	creditShare = 4
	// ackDelay is how long a peer is not told of what was handled, unless it is much. Until then it counts it as on its
	// way: a part of the window. With 5 ms, a broadcast to 15 peers that each answer took a tenth longer.
	ackDelay = 50 * time.Millisecond
)

// credit is what the peer is told of an inbox: how much was handled, so that it may send more.
type credit struct {
	freed atomic.Int64 // bytes of which the peer has been told, or is told at once, that they are handled
	news  ledger       // published messages that were handled, and of which the peer has not been told
	dirty atomic.Bool  // the inbox is in link.acks

	toldMu sync.Mutex // held while the peer is told, so that it receives the lower numbers first
	count  uint64     // guarded by toldMu; published messages of which the peer has been told that they are handled
	bytes  uint64     // guarded by toldMu; of these
}

// tell tells the peer what was handled for a subscription. It returns false if there was nothing new.
func (c *credit) tell(l *link, subscription uint64) bool {
	c.toldMu.Lock()
	defer c.toldMu.Unlock()
	bytes, messages := c.news.take()
	if messages == 0 {
		return false
	}
	c.bytes += bytes
	c.count += messages
	c.freed.Add(int64(bytes))
	l.control(message{kind: kindCredit, id: subscription, count: c.count, bytes: c.bytes})
	return true
}

// handled counts a published message that was handled.
func (in *inbox) handled(size int) {
	bytes, messages := in.credit.news.add(uint64(size))
	if bytes >= uint64(in.link.hub.opts.Window/creditShare) || messages >= ledgerMessages/2 {
		in.credit.tell(in.link, in.sub.number)
	} else if !in.credit.dirty.Load() {
		in.link.acks.add(in)
	}
}

// acks are the inboxes of which the peer is still to be told what was handled. There is one timer for all of them, so
// that a message costs none.
type acks struct {
	running *sync.WaitGroup // counts the timer while it is armed

	mu    sync.Mutex
	dirty []*inbox    // guarded by mu
	armed bool        // guarded by mu; the timer runs
	ended bool        // guarded by mu
	timer *time.Timer // guarded by mu; nil before its first use
}

// add makes sure that the peer will be told of what was handled of an inbox.
func (a *acks) add(in *inbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || in.credit.dirty.Swap(true) {
		return
	}
	a.dirty = append(a.dirty, in)
	if a.armed {
		return
	}
	a.armed = true
	a.running.Add(1)
	if a.timer == nil {
		a.timer = time.AfterFunc(ackDelay, a.expire)
	} else {
		a.timer.Reset(ackDelay)
	}
}

// expire is called by the timer.
func (a *acks) expire() {
	defer a.running.Done()
	a.mu.Lock()
	a.armed = false
	a.mu.Unlock()
	a.tell()
}

// tell tells the peer of all that was handled.
func (a *acks) tell() {
	a.mu.Lock()
	dirty := a.dirty
	a.dirty = nil
	a.mu.Unlock()
	for _, in := range dirty {
		in.credit.dirty.Store(false) // first: what is handled from now on adds the inbox again
		if in.credit.tell(in.link, in.sub.number) {
			a.add(in) // to look again whether it rests
		} else {
			in.queue.rest()
		}
	}
}

// end stops the timer.
func (a *acks) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended, a.dirty = true, nil
	if a.armed && a.timer.Stop() {
		a.armed = false
		a.running.Done()
	}
}
