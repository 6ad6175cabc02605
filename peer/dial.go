package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	minDelay        = 10 * time.Millisecond // before the first dial after a failure; doubles
	maxDelay        = time.Second
	maxRefusedDelay = 30 * time.Second // a peer that refuses has a reason, which seldom goes away
)

// link is one stream that this node keeps open to a peer.
type link struct {
	node   node
	stream string
}

// startLink keeps a link, if it is not kept already.
func (m *Mesh) startLink(l link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, kept := m.links[l]; kept || m.ended {
		return
	}
	m.links[l] = struct{}{}
	m.running.Go(func() { m.keep(l) }) // ended by the peer's end or by Close, which waits
}

// keep dials, runs the stream, and dials again, until the peer is gone or the mesh closes.
func (m *Mesh) keep(l link) {
	defer m.dropLink(l)
	failures := failureLog{log: m.log.With("stream", l.stream, "peer", l.node.String())}
	for delay := minDelay; ; {
		begin := time.Now()
		err := m.runLink(l)
		// Whatever ended it: only the lock tells whether the peer lives.
		if m.gone(l.node) {
			return
		}
		failures.add(err, delay)
		if err == nil && time.Since(begin) > maxDelay {
			delay = minDelay
		}
		// The jitter takes apart those who found a full backlog (EAGAIN) at the same moment.
		if !m.pause(delay/2 + rand.N(delay)) {
			return
		}
		delay = min(2*delay, delayLimit(err))
	}
}

func (m *Mesh) dropLink(l link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.links, l)
}

// runLink opens a stream and returns when it has ended, or the error of opening it.
func (m *Mesh) runLink(l link) error {
	stream, err := m.open(l.node, l.stream)
	if err != nil {
		return err
	}
	defer m.release(stream.conn)
	m.opts.OnStream(stream)
	return nil
}

// gone reports whether a node has ended, and removes the files of one that was killed.
func (m *Mesh) gone(n node) bool {
	gone, err := m.dir.sweep(n)
	if err != nil {
		m.log.Warn("cannot clean up after a peer", "peer", n.String(), "error", err)
	}
	return gone
}

func delayLimit(err error) time.Duration {
	if _, refused := errors.AsType[*refusedError](err); refused {
		return maxRefusedDelay
	}
	return maxDelay
}

// failureLog logs the failures of one link: a refusal at once, anything else when it lasts, since a peer that starts or
// dies refuses a connection too; and the same text once.
type failureLog struct {
	log  *slog.Logger
	last string
}

func (f *failureLog) add(err error, delay time.Duration) {
	if err == nil {
		f.last = ""
		return
	}
	if lasts := delay >= maxDelay; !lasts && delayLimit(err) == maxDelay {
		return
	}
	if text := fmt.Sprint(err); text != f.last {
		f.last = text
		f.log.Warn("cannot open a stream; trying again", "error", err)
	}
}
