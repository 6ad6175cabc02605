package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

const (
	minDelay     = 10 * time.Millisecond // before the first dial after a failure; doubles
	maxDelay     = time.Second
	refusedDelay = 10 * time.Second // a node that refuses a link has a reason, which seldom goes away
)

// keeper is what keeps the link to a node of a higher id.
type keeper struct {
	refused bool // guarded by Mesh.mu; the node does not want the link, so that nobody waits for it
}

// keepLink keeps the link to a node, if it is not kept already.
func (m *Mesh) keepLink(n node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dialed[n] != nil || m.ended {
		return
	}
	m.dialed[n] = new(keeper)
	m.running.Go(func() { m.keep(n) }) // ended by the peer's end or by Close, which waits
}

// keep dials, runs the link, and dials again, until the peer is gone or the mesh closes.
func (m *Mesh) keep(n node) {
	defer m.dropKeeper(n)
	failures := failureLog{log: m.log.With("peer", n.String())}
	for delay := minDelay; ; {
		begin := time.Now()
		err := m.dialLink(n)
		// Whatever ended it: only the lock tells whether the peer lives.
		if m.gone(n) {
			return
		}
		failures.add(err, delay)
		m.setRefused(n, isRefused(err))
		if err == nil && time.Since(begin) > maxDelay {
			delay = minDelay
		}
		// The jitter takes apart those who found a full backlog (EAGAIN) at the same moment.
		if !m.pause(delay/2 + rand.N(delay)) {
			return
		}
		delay = min(2*delay, maxDelay)
		if isRefused(err) {
			delay = refusedDelay
		}
	}
}

func (m *Mesh) dropKeeper(n node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.dialed, n)
	m.changeLocked()
}

func (m *Mesh) setRefused(n node, refused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.dialed[n]; k.refused != refused {
		k.refused = refused
		m.changeLocked()
	}
}

func (m *Mesh) dialLink(n node) error {
	stream, _, err := m.dial(n, linkStream)
	if err != nil {
		return err
	}
	return m.runLink(stream)
}

// dial opens a stream. asked tells that the node may know of it, even when it has failed. A node that does not speak our
// newest version is asked again for an older one that it speaks.
func (m *Mesh) dial(n node, name string) (stream *Stream, asked bool, err error) {
	return m.dialContext(context.Background(), n, name)
}

func (m *Mesh) dialContext(ctx context.Context, n node, name string) (stream *Stream, asked bool, err error) {
	q := question{stream: name, self: m.self, spoken: m.opts.versions, peer: n}
	for {
		stream, asked, err = m.ask(ctx, q)
		refused, ok := errors.AsType[*refusedError](err)
		if !ok {
			return stream, asked, err
		}
		if q.spoken, ok = q.spoken.older(refused); !ok {
			return nil, asked && !isBusy(err), err
		}
	}
}

func (m *Mesh) ask(ctx context.Context, q question) (stream *Stream, asked bool, err error) {
	conn, err := m.dir.Dial(q.peer)
	if err != nil {
		return nil, false, err
	}
	if !m.track(conn, q.peer) {
		return nil, false, net.ErrClosed
	}
	if err = checkOwn(conn); err == nil {
		asked = true
		stream, err = m.shake(ctx, conn, q)
	}
	if err != nil {
		return nil, asked, errors.Join(err, m.release(conn))
	}
	return stream, true, nil
}

// shake does the dialer's part of the handshake.
func (m *Mesh) shake(ctx context.Context, conn *net.UnixConn, q question) (*Stream, error) {
	// The listener has as much time for our request, and the answer has to come, too.
	if err := conn.SetDeadline(time.Now().Add(2 * m.opts.handshakeTimeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it is over at once
	info, early, err := q.ask(conn)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	info.PID, _, err = credentials(conn)
	if err != nil {
		return nil, err
	}
	return newStream(m, conn, q.stream, info, early), nil
}

// gone reports whether a node has ended, and removes the files of one that was killed.
func (m *Mesh) gone(n node) bool {
	gone, err := m.dir.Sweep(n)
	if err != nil {
		m.log.Warn("cannot clean up after a peer", "peer", n.String(), "error", err)
	}
	return gone
}

// isRefused tells that the peer does not want what it was asked for, or that we do not want its answer.
func isRefused(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.status != http.StatusServiceUnavailable
}

// isBusy tells that the peer has nothing against what it was asked for, but no room now.
func isBusy(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return ok && refused.status == http.StatusServiceUnavailable
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
	if lasts := delay >= maxDelay; !lasts && !isRefused(err) {
		return
	}
	if text := fmt.Sprint(err); text != f.last {
		f.last = text
		f.log.Warn("cannot link to a peer; trying again", "error", err)
	}
}
