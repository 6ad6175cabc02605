package reuseport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const answer = "the full answer"

// worker serves a listener until it is closed: it answers each connection and closes it.
type worker struct {
	*net.TCPListener
	loop sync.WaitGroup
}

func work(t *testing.T, l *net.TCPListener) *worker {
	t.Helper()
	w := &worker{TCPListener: l}
	w.loop.Go(w.serve) // ends when l is closed; retire waits
	t.Cleanup(w.retire)
	return w
}

func (w *worker) serve() {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := w.Accept()
		if err != nil {
			return
		}
		conns.Go(func() { // ends with the connection, which has a deadline
			defer c.Close()
			c.SetDeadline(time.Now().Add(limit))
			if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
				io.WriteString(c, answer)
			}
		})
	}
}

// retire closes the listener and returns when all that it has accepted has been served.
func (w *worker) retire() {
	w.Close()
	w.loop.Wait()
}

// load is a number of clients that make one connection after the other.
type load struct {
	served  atomic.Int64
	mutex   sync.Mutex
	refused []error // not established
	lost    []error // established, and no full answer
	clients sync.WaitGroup
	cancel  context.CancelFunc
}

// newLoad starts clients that give up to connect after a timeout. The test must stop them.
func newLoad(t *testing.T, address string, clients int, timeout time.Duration) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for range clients {
		l.clients.Go(func() { // ends with ctx; stop waits
			for ctx.Err() == nil {
				l.request(ctx, address, timeout)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.clients.Wait()
}

func (l *load) request(ctx context.Context, address string, timeout time.Duration) {
	dialer := net.Dialer{Timeout: timeout}
	c, err := dialer.DialContext(ctx, "tcp", address)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			c.Close()
		}
	case err != nil:
		l.note(&l.refused, err)
	default:
		l.converse(c)
	}
}

func (l *load) converse(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	_, writeErr := c.Write([]byte{1})
	got, readErr := io.ReadAll(c)
	if err := errors.Join(writeErr, readErr); err != nil || string(got) != answer {
		l.note(&l.lost, fmt.Errorf("%s: %q: %w", c.LocalAddr(), got, err))
		return
	}
	c.(*net.TCPConn).SetLinger(0) // the server has closed: neither side stays in TIME_WAIT
	l.served.Add(1)
}

func (l *load) note(list *[]error, err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	*list = append(*list, err)
}

func (l *load) losses() []error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.lost)
}

func (l *load) refusals() []error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.refused)
}

// requireMore waits until n more have been served.
func (l *load) requireMore(t *testing.T, n int64) {
	t.Helper()
	start := l.served.Load()
	require.Eventually(t, func() bool { return l.served.Load() >= start+n }, limit, time.Millisecond)
}
