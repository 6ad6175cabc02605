package peer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dialIdle opens a connection to a node that says nothing, and closes it after the test.
func dialIdle(t *testing.T, d *Directory, n node) net.Conn {
	t.Helper()
	conn, err := d.dial(n)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// All places are taken by connections that say nothing, for an hour: one who has something to say gets in.
func TestIdleConnectionsGiveWay(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	m := joinTest(t, d, Options{Self: Info{ID: 1}, handshakeTimeout: time.Hour}, onStream)
	var idle []net.Conn
	for range 2 * maxHandshakes {
		idle = append(idle, dialIdle(t, d, m.self.node()))
	}
	require.Eventually(t, func() bool { return len(m.shakes.places) == maxHandshakes }, limit, time.Millisecond)
	joinTest(t, d, Options{Self: Info{ID: 0}}, echo)
	receive(t, streams)
	require.NoError(t, idle[0].SetDeadline(time.Now().Add(limit)))
	answer, err := io.ReadAll(idle[0])
	require.NoError(t, err)
	assert.Contains(t, string(answer), "503 Service Unavailable", "the oldest gives way first")
}

// One whose request is being answered keeps its place, as long as that takes; and one that had to give way is not
// answered any more.
func TestHandshakesGiveWay(t *testing.T) {
	h := newHandshakes()
	conns, closed := make([]net.Conn, maxHandshakes+1), make(chan string, 1)
	for i := range conns {
		var client net.Conn
		client, conns[i] = net.Pipe()
		t.Cleanup(func() { assert.NoError(t, errors.Join(client.Close(), conns[i].Close())) })
		if i == 1 {
			go func() { // ended by refuse
				answer, _ := io.ReadAll(client)
				h.leave(conns[i]) // as the server does
				closed <- string(answer)
			}()
		}
	}
	for i := range maxHandshakes {
		require.True(t, h.enter(conns[i], nil))
	}
	require.True(t, h.ask(conns[0]))
	require.True(t, h.enter(conns[maxHandshakes], nil))
	assert.Contains(t, receive(t, closed), "503 Service Unavailable")
	assert.False(t, h.ask(conns[1]))
	assert.True(t, h.ask(conns[2]))
	for i, conn := range conns {
		if i != 1 {
			h.leave(conn)
		}
	}
	assert.Empty(t, h.places)
	assert.Empty(t, h.conns)
}

func TestHandshakesEnterUntilClose(t *testing.T) {
	h := newHandshakes()
	for range maxHandshakes {
		h.places <- struct{}{}
	}
	closing := make(chan struct{})
	close(closing)
	assert.False(t, h.enter(nil, closing))
}

func TestNodesJoinDuringAFlood(t *testing.T) {
	d := openTemp(t)
	flooded := node{9, NewIncarnation()}
	pid, _ := startChild(t, childJob{
		Directory: d.Path(), Join: true, ID: flooded.id, Incarnation: flooded.incarnation, HandshakeTimeout: time.Hour,
	})
	fds, memory := usage(t, pid)
	startFlood(t, d, flooded)
	for id := range 5 {
		streams, onStream := collect()
		begin := time.Now()
		joinTest(t, d, Options{Self: Info{ID: id}}, onStream)
		for receive(t, streams).Peer().ID != flooded.id {
		}
		nowFds, nowMemory := usage(t, pid)
		t.Logf("joined after %v; %d descriptors, %d KiB", time.Since(begin), nowFds, nowMemory)
		assert.LessOrEqual(t, nowFds, fds+2*(id+1)+maxHandshakes+1, "descriptors: a link and a stream for each node")
		assert.LessOrEqual(t, nowMemory, memory+128<<10, "KiB of memory")
	}
}

// startFlood opens idle connections to n, as fast as it can and 400 at a time, until the test ends. It returns when the
// node has closed one to make room.
func startFlood(t *testing.T, d *Directory, n node) {
	t.Helper()
	done, flooded := make(chan struct{}), make(chan struct{})
	go func() { // ended by done; the cleanup waits
		defer close(flooded)
		flood(d, n, done)
	}()
	t.Cleanup(func() {
		close(done)
		<-flooded
	})
	conn := dialIdle(t, d, n)
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	_, err := io.ReadAll(conn)
	require.NoError(t, err)
}

func flood(d *Directory, n node, done <-chan struct{}) {
	var conns [400]net.Conn
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	for i := 0; ; {
		select {
		case <-done:
			return
		default:
		}
		conn, err := d.dial(n)
		if err != nil { // EAGAIN: the queue is full
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if conns[i] != nil {
			_ = conns[i].Close()
		}
		conns[i] = conn
		i = (i + 1) % len(conns)
	}
}

// usage returns how many descriptors a process has open, and its memory in KiB; 0 where there is no /proc.
func usage(t *testing.T, pid int) (descriptors, memory int) {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0
	}
	require.NoError(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, resident, found := strings.Cut(string(status), "VmRSS:")
	require.True(t, found)
	_, err = fmt.Sscan(resident, &memory)
	require.NoError(t, err)
	return len(entries), memory
}

// A request that comes byte by byte ends in time, however lively it is.
func TestRequestByteByByte(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 1}, handshakeTimeout: 200 * time.Millisecond})
	conn := dialIdle(t, m.dir, m.self.node())
	closed := make(chan error, 1)
	go func() { // ended by the node's end of the connection
		_, err := io.Copy(io.Discard, conn)
		closed <- err
	}()
	request := rawRequest(t, "/stream/x", with(requestHeader(), "X", strings.Repeat("x", maxHeader/2)))
	for _, b := range []byte(request) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		select {
		case <-closed:
			return
		case <-time.After(5 * time.Millisecond): // 20 s for all of it
		}
	}
	t.Error("the whole request went through")
}
