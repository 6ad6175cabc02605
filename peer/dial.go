package peer

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

const (
	minDelay = 10 * time.Millisecond // before the first dial after a failure; doubles
	maxDelay = time.Second
)

// dialer opens streams.
type dialer struct{ *core }

// dial opens a stream. asked reports whether the node may have seen the request, even when dial fails. A node that does not
// speak our newest version is asked again for an older version that it speaks.
func (d dialer) dial(ctx context.Context, n node, name string) (stream *Stream, asked bool, err error) {
	q := question{stream: name, self: d.self, spoken: d.opts.versions, peer: n}
	for {
		stream, asked, err = d.ask(ctx, q)
		refused, ok := errors.AsType[*refusedError](err)
		if !ok {
			return stream, asked, err
		}
		if q.spoken, ok = q.spoken.older(refused); !ok {
			return nil, asked && !isBusy(err), err
		}
	}
}

func (d dialer) ask(ctx context.Context, q question) (stream *Stream, asked bool, err error) {
	conn, err := d.dir.Dial(q.peer)
	if err != nil {
		return nil, false, err
	}
	if !d.track(conn, q.peer) {
		return nil, false, net.ErrClosed
	}
	if err = localhttp.CheckOwn(conn); err == nil {
		asked = true
		stream, err = d.shake(ctx, conn, q)
	}
	if err != nil {
		return nil, asked, errors.Join(err, d.release(conn))
	}
	return stream, true, nil
}

// shake does the dialer's part of the handshake.
func (d dialer) shake(ctx context.Context, conn *net.UnixConn, q question) (*Stream, error) {
	// The listener waits for our request for half of it; the other half is for its answer.
	if err := conn.SetDeadline(time.Now().Add(2 * d.opts.handshakeTimeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // the handshake fails at once
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
	info.PID, _, err = localhttp.Credentials(conn)
	if err != nil {
		return nil, err
	}
	return newStream(d.core, conn, q.stream, info, early), nil
}
