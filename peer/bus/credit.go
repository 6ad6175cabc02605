package bus

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// creditShare is the part of the window after which the peer gets credit at once, and not after ackDelay.
	creditShare = 4
	// ackDelay is how long credit for a few messages waits. Until then the peer counts them as on their way, in its window.
	// With 5 ms, a broadcast to 15 peers that each answer took a tenth longer.
	ackDelay = 50 * time.Millisecond
)

// credit counts what was handled of an inbox, for the peer, which may then send more.
type credit struct {
	freed atomic.Int64 // handled bytes for which the peer has credit, or gets it at once
	news  ledger       // handled published messages without credit
	dirty atomic.Bool  // the inbox is in link.acks

	toldMu sync.Mutex // held while credit is sent, so that the peer receives the lower numbers first
	count  uint64     // guarded by toldMu; published messages for which the peer has credit
	bytes  uint64     // guarded by toldMu; of these
}

// tell sends the peer the credit for a subscription. It returns false if there was nothing new.
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

// acks are the inboxes with credit that was not sent yet. One timer serves all of them, so that a message costs none.
type acks struct {
	running *sync.WaitGroup // counts the timer while it is armed

	mu    sync.Mutex
	dirty []*inbox    // guarded by mu
	armed bool        // guarded by mu; the timer runs
	ended bool        // guarded by mu
	timer *time.Timer // guarded by mu; nil before its first use
}

// add makes sure that the credit of an inbox is sent.
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

// tell sends all credit.
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
