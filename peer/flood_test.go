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

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

// dialIdle opens a connection to a node that says nothing, and closes it after the test.
func dialIdle(t *testing.T, d *rendezvous.Directory, n node) net.Conn {
	t.Helper()
	conn, err := d.Dial(n)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// All places are taken by silent connections, for an hour: a client that speaks gets in.
func TestIdleConnectionsGiveWay(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	m := joinTest(t, d, Options{Self: Info{ID: 1}, handshakeTimeout: time.Hour}, onStream)
	var idle []net.Conn
	for len(idle) < 2*localhttp.MaxHandshakes || m.server.Handshakes() < localhttp.MaxHandshakes {
		idle = append(idle, dialIdle(t, d, m.self.node()))
	}
	joinTest(t, d, Options{Self: Info{ID: 0}}, echo)
	receive(t, streams)
	require.NoError(t, idle[0].SetDeadline(time.Now().Add(limit)))
	answer, err := io.ReadAll(idle[0])
	require.NoError(t, err)
	assert.Contains(t, string(answer), "503 Service Unavailable", "the oldest gives way first")
}

func TestNodesJoinDuringAFlood(t *testing.T) {
	d := openTemp(t)
	flooded := node{ID: 9, Incarnation: rendezvous.NewIncarnation()}
	c := child.Start(t, childJob{
		Directory: d.Path(), Join: true, ID: flooded.ID, Incarnation: flooded.Incarnation, HandshakeTimeout: time.Hour,
	})
	fds, memory := usage(t, c.Pid)
	startFlood(t, d, flooded)
	for id := range 5 {
		streams, onStream := collect()
		begin := time.Now()
		joinTest(t, d, Options{Self: Info{ID: id}}, onStream)
		for receive(t, streams).Peer().ID != flooded.ID {
		}
		nowFds, nowMemory := usage(t, c.Pid)
		t.Logf("joined after %v; %d descriptors, %d KiB", time.Since(begin), nowFds, nowMemory)
		assert.LessOrEqual(t, nowFds, fds+2*(id+1)+localhttp.MaxHandshakes+1, "descriptors: a link and a stream for each node")
		assert.LessOrEqual(t, nowMemory, memory+128<<10, "KiB of memory")
	}
}

// startFlood opens idle connections to n, as fast as it can and 400 at a time, until the test ends. It returns when the
// node has closed one to make room.
func startFlood(t *testing.T, d *rendezvous.Directory, n node) {
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

func flood(d *rendezvous.Directory, n node, done <-chan struct{}) {
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
		conn, err := d.Dial(n)
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
