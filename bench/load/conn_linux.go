package load

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection, and the request that it carries.
type conn struct {
	slot    int32
	fd      int // -1: closed
	client  *client
	fresh   bool // it was made for its request
	written bool // something was sent
	counted bool // in Result.ConnsByWorker
	opened  time.Duration
	local   netip.AddrPort // of a strict plan
	worker  string         // likewise: who has answered

	active   bool // it carries a request
	request  request
	unsent   []byte
	response response
	lingers  time.Duration // since when it waits for the server to close; 0: it does not
}

// request is one at work.
type request struct {
	due     time.Duration // when it had to be sent
	begun   time.Duration // when it was
	message []byte
	retried bool
}

// take returns a connection that is to be dialed.
func (g *generator) take(c *client) *conn {
	var k *conn
	if last := len(g.free) - 1; last >= 0 {
		k, g.free = g.free[last], g.free[:last]
	} else {
		k = &conn{slot: int32(len(g.conns)), fd: -1}
		g.conns = append(g.conns, k)
	}
	k.client = c
	if g.plan.KeepAlive {
		c.conn = k
	}
	return k
}

// dial connects k. On loopback it is connected at once, unless the server's queue is full.
//
// There is no TCP_NODELAY: nothing is ever written while something else is not acknowledged yet.
func (g *generator) dial(k *conn) error {
	fd, err := unix.Socket(k.client.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	k.fd, k.fresh, k.written, k.counted = fd, true, false, false
	k.opened, k.local, k.worker = g.now(), netip.AddrPort{}, ""
	if err := unix.Connect(fd, k.client.address); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	if g.plan.Strict != nil {
		k.local = localAddr(fd)
	}
	return g.poll.add(fd, k.slot)
}

// send sends the request of k.
func (g *generator) send(k *conn) {
	k.response.reset()
	k.unsent = k.request.message
	if k.fd < 0 {
		if err := g.dial(k); err != nil {
			g.broken(k, err)
			return
		}
	}
	g.flush(k)
}

// flush sends what it can. The rest waits for an event.
func (g *generator) flush(k *conn) {
	n, err := unix.Write(k.fd, k.unsent)
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		g.broken(k, os.NewSyscallError("write", err))
		return
	}
	k.unsent = k.unsent[max(n, 0):]
	if n > 0 && !k.written {
		k.written = true
		g.tally.Connections++
	}
	if len(k.unsent) > 0 {
		if err := g.poll.addWritable(k.fd, k.slot); err != nil {
			g.broken(k, err)
		}
	}
}

// handle takes events of k.
func (g *generator) handle(k *conn, events uint32) {
	switch {
	case k.fd < 0 || events == unix.EPOLLOUT && len(k.unsent) == 0:
		return
	case !k.active: // closed by the server; or it sent what nobody had asked for
		if g.plan.Strict == nil {
			g.hangUp(k)
		}
		return
	case len(k.unsent) > 0:
		g.flush(k)
	}
	if k.active && events != unix.EPOLLOUT {
		g.receive(k, events)
	}
}

const closing = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

// receive reads what is there. Unless the server is closing, a read that does not fill the buffer was the last.
func (g *generator) receive(k *conn, events uint32) {
	for k.active {
		n, err := unix.Read(k.fd, g.buffer[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			g.broken(k, os.NewSyscallError("read", err))
		case n == 0:
			if err := k.response.end(); err != nil {
				g.broken(k, err)
				return
			}
			g.answered(k, true)
		default:
			beyond, done, err := k.response.feed(g.buffer[:n])
			if err != nil {
				g.broken(k, err)
			} else if done {
				g.answered(k, len(beyond) > 0 || events&closing != 0)
			}
			if n < len(g.buffer) && events&closing == 0 {
				return
			}
		}
	}
}

// answered takes that the response is whole.
func (g *generator) answered(k *conn, closed bool) {
	kind := ""
	if k.response.status/100 != 2 {
		kind = Status
	}
	keep := k.response.keep && g.plan.KeepAlive
	if g.plan.Strict != nil {
		k.worker = string(k.response.worker)
		closed = !keep
	}
	if k.fresh = false; !closed && !keep { // the server closes first
		k.lingers = g.now()
		k.client.conn = nil
	}
	g.finish(k, kind)
	if closed {
		g.hangUp(k)
	}
}

// broken takes an error of the connection. A request that has met the end of an idle connection is sent again, once.
func (g *generator) broken(k *conn, err error) {
	kind := kindOf(err)
	if (kind == Reset || kind == EOF) && g.plan.Strict == nil && !k.fresh && !k.request.retried && !k.response.begun {
		g.tally.Retried++
		k.request.retried = true
		g.shut(k)
		g.send(k)
		return
	}
	g.fail(k, kind, err)
}

// fail ends the request of k, and k.
func (g *generator) fail(k *conn, kind string, err error) {
	if g.plan.Strict != nil && len(g.tally.Lost) < maxLost {
		g.tally.Lost = append(g.tally.Lost, g.lost(k, kind, err))
	}
	g.finish(k, kind)
	g.hangUp(k)
}

// lost tells of the request of k, which has failed.
func (g *generator) lost(k *conn, kind string, err error) Failure {
	since := Now() - g.now()
	f := Failure{Kind: kind, Error: err.Error(), Opened: since + k.opened, Begun: since + k.request.begun, Failed: Now()}
	f.PID, _ = strconv.Atoi(k.worker) // 0: nobody has answered yet
	if !k.local.IsValid() {
		return f
	}
	f.Local = k.local.String()
	if f.PID == 0 && g.ledger != nil {
		f.PID = g.ledger.find(k.local, f.Opened)
	}
	return f
}

// hangUp ends k.
func (g *generator) hangUp(k *conn) {
	g.shut(k)
	if k.client.conn == k {
		k.client.conn = nil
	}
	k.client, k.lingers, k.unsent = nil, 0, nil
	g.free = append(g.free, k)
}

func (g *generator) shut(k *conn) {
	if k.fd >= 0 {
		if g.plan.Strict != nil {
			_ = unix.SetsockoptLinger(k.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		_ = unix.Close(k.fd)
		k.fd = -1
	}
}

// kindOf sorts errors.
func kindOf(err error) string {
	var errno unix.Errno
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return Reset
	case errors.Is(err, io.ErrUnexpectedEOF):
		return EOF
	case errors.Is(err, errMalformed):
		return Malformed
	case errors.Is(err, unix.ETIMEDOUT):
		return Timeout
	case errors.As(err, &errno):
		return strings.TrimSpace(unix.ErrnoName(errno))
	default:
		return err.Error()
	}
}
