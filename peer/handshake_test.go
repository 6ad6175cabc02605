package peer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

var testInfo = Info{Cluster: "test", ID: 1, Slot: 1, Generation: 2, Incarnation: 0x9f86d081884c7d65}

var spoken = versions{oldestVersion, newestVersion}

// requestHeader returns the header of a good request.
func requestHeader() http.Header {
	h := headerOf(testInfo)
	spoken.set(h)
	return h
}

func with(h http.Header, name, value string) http.Header {
	h.Set(name, value)
	return h
}

func TestParseRequest(t *testing.T) {
	info, version, refused := parseRequest(requestHeader(), "test", spoken)
	require.Nil(t, refused)
	assert.Equal(t, testInfo, info)
	assert.Equal(t, newestVersion, version)
	_, _, refused = parseRequest(with(requestHeader(), "Connection", "keep-alive, upgrade"), "test", spoken)
	assert.Nil(t, refused)

	tests := []struct {
		name, header, value string
		status              int
		reason              string
	}{
		{"no upgrade", "Connection", "close", http.StatusUpgradeRequired, "Upgrade: multinode"},
		{"unknown upgrade", "Upgrade", "h2c", http.StatusUpgradeRequired, "Upgrade: multinode"},
		{"version", headerVersion, "0", http.StatusUpgradeRequired, `version 0: this node speaks versions 1 to 2`},
		{"cluster", headerCluster, "shop", http.StatusConflict, `cluster "shop": this node belongs to cluster "test"`},
		{"id", headerID, "-1", http.StatusBadRequest, headerID},
		{"slot", headerSlot, "", http.StatusBadRequest, headerSlot},
		{"generation", headerGeneration, "99999999999999999999", http.StatusBadRequest, headerGeneration},
		{"incarnation", headerIncarnation, "0000000000000000", http.StatusBadRequest, headerIncarnation},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, refused := parseRequest(with(requestHeader(), test.header, test.value), "test", spoken)
			require.NotNil(t, refused)
			assert.Equal(t, test.status, refused.status)
			assert.ErrorContains(t, refused, test.reason)
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	var seed bytes.Buffer
	require.NoError(f, requestHeader().Write(&seed))
	f.Add(seed.Bytes())
	f.Add([]byte("Upgrade: multinode\r\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		request := append([]byte("GET /stream/x HTTP/1.1\r\nHost: multinode\r\n"), header...)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(request, "\r\n\r\n"...))))
		if err != nil {
			return
		}
		info, version, refused := parseRequest(r.Header, "test", spoken)
		if refused != nil {
			assert.NotEmpty(t, refused.reason)
			return
		}
		assert.True(t, spoken.speaks(version))
		again, refused := parseInfo(headerOf(info), "test")
		assert.Nil(t, refused)
		assert.Equal(t, info, again)
	})
}

func FuzzRequest(f *testing.F) {
	var seed bytes.Buffer
	require.NoError(f, requestHeader().Write(&seed))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\n" + seed.String() + "\r\nearly"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
	f.Add([]byte("HTTP/1.1 426 Upgrade Required\r\nUpgrade: multinode\r\nMultinode-Version: 1\r\nContent-Length: 2\r\n\r\nno"))
	q := question{stream: "x", self: testInfo, spoken: spoken, peer: testInfo.node()}
	f.Fuzz(func(t *testing.T, answer []byte) {
		info, early, err := q.ask(&scripted{Reader: bytes.NewReader(answer)})
		if err == nil {
			assert.Equal(t, testInfo.node(), info.node())
			assert.True(t, bytes.Contains(answer, early))
		}
	})
}

// scripted is a connection that reads from a script and takes all that is written.
type scripted struct {
	net.Conn
	io.Reader
}

func (s *scripted) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s *scripted) Write(b []byte) (int, error) { return len(b), nil }

// exchange sends raw bytes to a node and returns all that comes back until the node closes.
func exchange(t *testing.T, m *Mesh, raw string) string {
	t.Helper()
	conn := connect(t, m, raw)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}

func rawRequest(t *testing.T, path string, header http.Header) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("GET " + path + " HTTP/1.1\r\nHost: multinode\r\n")
	require.NoError(t, header.Write(&b))
	return b.String() + "\r\n"
}

func TestListenerRefuses(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 2}, handshakeTimeout: limit})
	other := func(name, value string) http.Header { return with(requestHeader(), name, value) }
	tests := []struct{ name, raw, want string }{
		{"garbage", "\x00\xff\r\n\r\n", "400 Bad Request"},
		{"too much header", rawRequest(t, "/stream/x", other("X", strings.Repeat("x", 1<<14))), "431 "},
		{"unknown path", rawRequest(t, "/x", requestHeader()), "404 Not Found"},
		{"stream name", rawRequest(t, "/stream/X", requestHeader()), "want 1 to 64 lower-case letters"},
		{"version", rawRequest(t, "/stream/x", other(headerVersion, "0")), "Multinode-Version: 2\r\n"},
		{"unknown upgrade", rawRequest(t, "/stream/x", other("Upgrade", "h2c")), "Upgrade: multinode\r\n"},
		{"cluster", rawRequest(t, "/stream/x", other(headerCluster, "shop")), "409 Conflict"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { assert.Contains(t, exchange(t, m, test.raw), test.want) })
	}
}

func TestRequestThatNeverComes(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 2}, handshakeTimeout: 100 * time.Millisecond})
	for _, said := range []string{"", "GET /stream/x HTTP/1.1\r\nHost: mu"} {
		conn := dialIdle(t, m.dir, m.self.node())
		require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
		_, _ = io.WriteString(conn, said) // on a busy machine its time may be over
		_, err := io.Copy(io.Discard, conn)
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
}

// It is refused when the time for the body is over.
func TestRefusedRequestWhoseBodyNeverComes(t *testing.T) {
	withTime(t, func(timeout time.Duration) bool {
		m := joinTest(t, openTemp(t), Options{Self: Info{ID: 2}, handshakeTimeout: timeout})
		answer := answerInTime(t, m, rawRequest(t, "/stream/X", with(requestHeader(), "Content-Length", "9")))
		return answer != "" && assert.Contains(t, answer, "400 Bad Request")
	})
}

// answerInTime sends raw bytes to a node and returns the answer, which is empty if the node has not read them in time.
func answerInTime(t *testing.T, m *Mesh, raw string) string {
	t.Helper()
	conn := dialIdle(t, m.dir, m.self.node())
	_, _ = io.WriteString(conn, raw)
	answer, _ := io.ReadAll(conn) // a connection that is closed before its bytes are read may be reset
	return string(answer)
}

// withTime calls f with a time for handshakes, and with more until f returns true: a busy machine may not read a request in it.
func withTime(t *testing.T, f func(timeout time.Duration) bool) {
	t.Helper()
	for timeout := 200 * time.Millisecond; timeout < limit; timeout *= 4 {
		if f(timeout) {
			return
		}
	}
	require.Fail(t, "no request has been read")
}

func TestBytesBehindTheRequest(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 2}}, func(s *Stream) {
		head := make([]byte, 3) // less than what came early
		_, headErr := io.ReadFull(s, head)
		rest, restErr := io.ReadAll(s)
		_, writeErr := s.Write(append(head, rest...))
		assert.NoError(t, errors.Join(headErr, restErr, writeErr, s.Close()))
	})
	hello := framing.AppendFrame(nil, framing.Text, []byte(`{"streams":{"x":1},"color":"red"}`))
	link := connect(t, m, rawRequest(t, "/stream/link", requestHeader())+string(hello))
	joined := make(chan Event, 1)
	m.OnEvent(func(e Event) { joined <- e })
	want := testInfo
	want.PID = os.Getpid()
	assert.Equal(t, Event{Type: Joined, Peer: want}, receive(t, joined))

	conn := connect(t, m, rawRequest(t, "/stream/x", requestHeader())+"early bytes")
	require.NoError(t, conn.CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(answer), "\r\n\r\nearly bytes"), "%q", answer)

	require.NoError(t, link.Close())
	left := receive(t, joined)
	assert.Equal(t, Left, left.Type)
	assert.Equal(t, ReasonDied, left.Reason, "it holds no lock")
}

// connect connects to a node and sends raw bytes.
func connect(t *testing.T, m *Mesh, raw string) *net.UnixConn {
	t.Helper()
	conn, err := m.dir.Dial(m.self.node())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	_, err = io.WriteString(conn, raw)
	require.NoError(t, err)
	return conn
}

// fakeNode publishes a node that sends the same answer to every request.
func fakeNode(t *testing.T, d *rendezvous.Directory, n node, answer string) {
	t.Helper()
	p, err := d.Publish(n)
	require.NoError(t, err)
	served := make(chan struct{})
	go func() { // ended by the listener's Close; the cleanup waits
		defer close(served)
		for {
			conn, err := p.Listener().Accept()
			if err != nil {
				return
			}
			if _, err = http.ReadRequest(bufio.NewReader(conn)); err == nil { // else its mesh has closed
				_, _ = io.WriteString(conn, answer)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, p.Withdraw())
		assert.NoError(t, p.Listener().Close())
		<-served
	})
}

func answerOf(t *testing.T, info Info) string {
	t.Helper()
	var b strings.Builder
	h := with(headerOf(info), headerVersion, strconv.Itoa(newestVersion))
	require.NoError(t, h.Write(&b))
	return "HTTP/1.1 101 Switching Protocols\r\n" + b.String() + "\r\n"
}

func TestBytesBehindTheAnswer(t *testing.T) {
	d := openTemp(t)
	info := Info{Cluster: "test", ID: 5, Incarnation: rendezvous.NewIncarnation()}
	fakeNode(t, d, info.node(), answerOf(t, info)+"early bytes")
	m := joinTest(t, d, Options{Self: Info{ID: 1}})
	stream, _, err := m.streams.dialer.dial(t.Context(), info.node(), "x")
	require.NoError(t, err)
	content, err := io.ReadAll(stream)
	require.NoError(t, err)
	assert.Equal(t, "early bytes", string(content))
	require.NoError(t, stream.Close())
}

func TestDialerRefuses(t *testing.T) {
	n := node{ID: 5, Incarnation: rendezvous.NewIncarnation()}
	good := Info{Cluster: "test", ID: n.ID, Incarnation: n.Incarnation}
	older, stranger := good, good
	newer := strings.Replace(answerOf(t, good), headerVersion+": 2", headerVersion+": 3", 1)
	older.Incarnation++
	stranger.Cluster = "shop"
	tests := []struct{ name, answer, want string }{
		{"another incarnation", answerOf(t, older), "answers on the socket of node " + n.String()},
		{"another cluster", answerOf(t, stranger), `this node belongs to cluster "test"`},
		{"version that was not asked for", newer, `version "3": this node speaks versions 1 to 2`},
		{"refused", "HTTP/1.1 403 Forbidden\r\n\r\nnot you", "refused by the peer (403 Forbidden): not you"},
		{"garbage", "220 smtp ready\r\n\r\n", "malformed HTTP"},
		{"endless header", "HTTP/1.1 101 OK\r\nX: " + strings.Repeat("x", 1<<14), "unexpected EOF"},
		{"nothing", "", "EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := openTemp(t)
			fakeNode(t, d, n, test.answer)
			log := newTestLog()
			joinTest(t, d, Options{Self: Info{ID: 1}, Logger: log.logger()}, func(*Stream) {
				t.Error("a stream in spite of it")
			})
			assert.Equal(t, n.String(), log.waitForError(t, test.want).Peer)
		})
	}
}
