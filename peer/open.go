package peer

import (
	"errors"
	"net"
	"time"
)

// open dials a node and asks it for a stream, whose connection the caller has to release. A node that does not speak
// our newest version is asked again for an older one that it speaks.
func (m *Mesh) open(n node, name string) (*Stream, error) {
	q := question{stream: name, self: m.self, spoken: m.opts.versions, peer: n}
	for {
		stream, err := m.openAs(q)
		refused, ok := errors.AsType[*refusedError](err)
		if !ok {
			return stream, err
		}
		older, ok := q.spoken.older(refused)
		if !ok {
			return nil, err
		}
		q.spoken = older
	}
}

func (m *Mesh) openAs(q question) (*Stream, error) {
	conn, err := m.dir.dial(q.peer)
	if err != nil {
		return nil, err
	}
	if !m.track(conn) {
		return nil, net.ErrClosed
	}
	stream, err := m.shake(conn, q)
	if err != nil {
		m.release(conn)
		return nil, err
	}
	return stream, nil
}

// shake does the dialer's part of the handshake.
func (m *Mesh) shake(conn *net.UnixConn, q question) (*Stream, error) {
	if err := checkOwn(conn); err != nil {
		return nil, err
	}
	// The listener gives as much time to those before us, and to our own request.
	if err := conn.SetDeadline(time.Now().Add(2 * m.opts.handshakeTimeout)); err != nil {
		return nil, err
	}
	info, early, err := q.ask(conn)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	if info.PID, _, err = credentials(conn); err != nil {
		return nil, err
	}
	return newStream(conn, q.stream, m.dir, m.self, info, early), nil
}
