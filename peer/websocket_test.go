package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// integrationEnv makes tests fail that would skip for want of a tool.
const integrationEnv = "MULTINODE_INTEGRATION"

// skipWithout skips the test, or fails it where nothing may be skipped, and says what would mend it.
func skipWithout(t *testing.T, what, fix string) {
	t.Helper()
	if os.Getenv(integrationEnv) != "" {
		require.FailNow(t, "no "+what+": "+fix)
	}
	t.Skip("no " + what + ": " + fix)
}

// clientHeader returns the header of a good request, with the key of the RFC.
func clientHeader() http.Header {
	return http.Header{
		"Connection":            {"keep-alive, Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
}

func listenWebSocket(t *testing.T, m *Mesh) *Listener {
	t.Helper()
	l, err := m.ListenWebSocket("chat")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

func TestWebSocketHandshake(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 1}})
	l := listenWebSocket(t, m)
	// A masked frame comes in one piece with the request.
	frame := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" // "Hello", from section 5.7
	client := connect(t, m, rawRequest(t, "/stream/chat", clientHeader())+frame)
	answer, err := http.ReadResponse(bufio.NewReader(client), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusSwitchingProtocols, answer.StatusCode)
	assert.Equal(t, "websocket", answer.Header.Get("Upgrade"))
	assert.Equal(t, "Upgrade", answer.Header.Get("Connection"))
	assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer.Header.Get("Sec-WebSocket-Accept"))
	assert.Empty(t, answer.Header.Values("Sec-WebSocket-Protocol"), "nothing is negotiated")
	assert.Empty(t, answer.Header.Values("Sec-WebSocket-Extensions"), "nothing is negotiated")

	stream, err := acceptStream(l)
	require.NoError(t, err)
	assert.Equal(t, Info{Cluster: "test", ID: -1, PID: os.Getpid()}, stream.Peer())
	assert.Equal(t, "chat", stream.name)
	conn := framing.New(stream, framing.Options{})
	message, err := conn.Receive(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "Hello", string(message.Data))
	require.NoError(t, client.Close())
	_, err = conn.Receive(t.Context())
	require.Error(t, err)
	_ = conn.Close(framing.CodeNormal, "") // it has ended
}

func TestWebSocketRefuses(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 1}})
	listenWebSocket(t, m)
	listenTest(t, m)
	other := func(name, value string) http.Header { return with(clientHeader(), name, value) }
	twice := clientHeader()
	twice.Add("Sec-WebSocket-Key", twice.Get("Sec-WebSocket-Key"))
	tests := []struct {
		name, path string
		header     http.Header
		want       []string
	}{
		{"nobody listens", "/stream/none", clientHeader(), []string{"404 Not Found"}},
		{"for nodes only", "/stream/x", clientHeader(), []string{"404 Not Found", "takes WebSocket clients"}},
		{"the link", "/stream/link", clientHeader(), []string{"404 Not Found"}},
		{"stream name", "/stream/X", clientHeader(), []string{"400 Bad Request"}},
		{
			"version", "/stream/chat", other("Sec-WebSocket-Version", "8"),
			[]string{"426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n", "Upgrade: websocket\r\n"},
		},
		{"no connection header", "/stream/chat", other("Connection", "close"), []string{"400 Bad Request"}},
		{"short key", "/stream/chat", other("Sec-WebSocket-Key", "AAAA"), []string{"400 Bad Request", "want 16 bytes"}},
		{"no key", "/stream/chat", other("Sec-WebSocket-Key", ""), []string{"400 Bad Request", "want 16 bytes"}},
		{"two keys", "/stream/chat", twice, []string{"400 Bad Request", "want 1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := exchange(t, m, rawRequest(t, test.path, test.header))
			for _, want := range test.want {
				assert.Contains(t, answer, want)
			}
		})
	}
}

// Nodes and other clients share a listener: to the application all are framed messages.
func TestWebSocketListenerTakesNodes(t *testing.T) {
	low, high := pair(t)
	l := listenWebSocket(t, high)
	dialed, err := low.Dial(t.Context(), 1, "chat")
	require.NoError(t, err)
	accepted, err := acceptStream(l)
	require.NoError(t, err)
	assert.Equal(t, low.self, accepted.Peer())
	a, b := framing.New(dialed, framing.Options{}), framing.New(accepted, framing.Options{})
	require.NoError(t, a.Send(t.Context(), "hello"))
	message, err := b.Receive(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"hello"`, string(message.Data))
	closed := make(chan error, 1)
	go func() { closed <- a.Close(4001, "bye") }() // ended by the other Close
	_, err = b.Receive(t.Context())
	var end *framing.CloseError
	require.ErrorAs(t, err, &end)
	assert.Equal(t, framing.Code(4001), end.Code)
	require.NoError(t, errors.Join(b.Close(framing.CodeNormal, ""), receive(t, closed)))
}

// The client is the package ws of Node, see testdata/ws.
func TestIntegrationWebSocketClient(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		skipWithout(t, "node", "apt-get install nodejs npm")
	}
	script := filepath.Join("testdata", "ws", "client.js")
	if _, err := os.Stat(filepath.Join(filepath.Dir(script), "node_modules", "ws")); err != nil {
		skipWithout(t, "package ws", "make websocket-client")
	}
	base, err := os.MkdirTemp("", "") //nolint:usetesting // short: the client knows no way around the limit of sun_path
	require.NoError(t, err)
	defer os.RemoveAll(base)
	m := joinTest(t, openAt(t, filepath.Join(base, "d")), Options{Self: Info{ID: 1}})
	l := listenWebSocket(t, m)
	ended := make(chan error, 10)
	peers := make(chan Info, 10)
	served := make(chan struct{})
	go func() { // ended by Close of the listener
		defer close(served)
		serveWebSockets(t.Context(), l, peers, ended)
	}()

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	command := exec.CommandContext(ctx, node, script, filepath.Join(base, "d", m.self.node().SocketName()))
	output, err := command.CombinedOutput()
	require.NoError(t, err, string(output))
	var closed *framing.CloseError
	require.ErrorAs(t, receive(t, ended), &closed)
	assert.Equal(t, framing.CloseError{Code: 4001, Reason: "bye"}, *closed)
	require.NoError(t, receive(t, ended), "closed by us")
	for range 2 {
		assert.Equal(t, Info{Cluster: "test", ID: -1, PID: command.ProcessState.Pid()}, receive(t, peers))
	}
	require.NoError(t, l.Close())
	<-served
}

// serveWebSockets echoes to one client after the other, and reports each client and its end.
func serveWebSockets(ctx context.Context, l *Listener, peers chan<- Info, ended chan<- error) {
	for {
		stream, err := acceptStream(l)
		if err != nil {
			return
		}
		peers <- stream.Peer()
		conn := framing.New(stream, framing.Options{})
		err = serveWebSocket(ctx, conn)
		_ = conn.Close(framing.CodeNormal, "") // it has ended
		ended <- err
	}
}

func serveWebSocket(ctx context.Context, conn *framing.Conn) error {
	for {
		m, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		switch string(m.Data) {
		case "close me":
			return conn.Close(4002, "done")
		case "ping me":
			echo := framing.Message{Type: m.Type, Data: bytes.Clone(m.Data)}
			go func() { // ended by the pong, which the next Receive gets
				if conn.Ping(ctx) == nil {
					_ = conn.SendMessage(ctx, echo) // what the client waits for
				}
			}()
		default:
			if err := conn.SendMessage(ctx, m); err != nil {
				return err
			}
		}
	}
}

func FuzzWebSocketRequest(f *testing.F) {
	var seed bytes.Buffer
	require.NoError(f, clientHeader().Write(&seed))
	f.Add(seed.Bytes())
	f.Add([]byte("Upgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		request := append([]byte("GET /stream/chat HTTP/1.1\r\nHost: multinode\r\n"), header...)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(request, "\r\n\r\n"...))))
		if err != nil {
			return
		}
		accept, refused := webSocketAccept(r)
		if refused != nil {
			assert.NotEmpty(t, refused.reason)
			assert.GreaterOrEqual(t, refused.status, 400)
			return
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key")))
		require.NoError(t, err)
		assert.Len(t, key, 16)
		assert.Len(t, accept, 28)
	})
}
