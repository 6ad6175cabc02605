package peer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

// askNode sends a request to m on a connection of its own. The answer's body, and so the connection, is closed after the
// test.
func askNode(t *testing.T, m *Mesh, method, path string, body io.Reader) *http.Response {
	t.Helper()
	answer, err := tryNode(t, m, method, path, body)
	require.NoError(t, err)
	return answer
}

// tryNode is askNode where the node may not answer.
func tryNode(t *testing.T, m *Mesh, method, path string, body io.Reader) (*http.Response, error) {
	t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return m.dir.Dial(m.self.node())
		},
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://multinode"+path, body)
	require.NoError(t, err)
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer, nil
}

func content(t *testing.T, answer *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return strings.TrimSpace(string(all))
}

// ticker sends a line for each value of ticks, until the request is over; then it closes ended.
func ticker(ticks <-chan string, ended chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		control := http.NewResponseController(w)
		for {
			if err := control.Flush(); err != nil {
				return
			}
			select {
			case tick := <-ticks:
				_, _ = fmt.Fprintln(w, tick)
			case <-r.Context().Done():
				return
			}
		}
	}
}

// wait begins an answer and does not end it.
func wait(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush() // else the context ends
	<-r.Context().Done()
}

func TestHandle(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{inside: inside.Options{NextID: idsFrom(5)}})
	require.NoError(t, m.Handle("POST /greet/{name}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, "%s %s", body, r.PathValue("name"))
	})))
	answer := askNode(t, m, http.MethodPost, "/greet/you", strings.NewReader("hello"))
	assert.Equal(t, http.StatusAccepted, answer.StatusCode)
	assert.Equal(t, "hello you", content(t, answer))
	assert.Equal(t, http.StatusNotFound, askNode(t, m, http.MethodGet, "/elsewhere", nil).StatusCode)
	assert.Equal(t, http.StatusMethodNotAllowed, askNode(t, m, http.MethodGet, "/greet/you", nil).StatusCode)

	large := askNode(t, m, http.MethodPost, "/greet/you", strings.NewReader(strings.Repeat("x", maxBody+1)))
	assert.Equal(t, http.StatusRequestEntityTooLarge, large.StatusCode)
	assert.Equal(t, "the body has more than 1048576 bytes", content(t, large))
}

func TestHandleRefuses(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{})
	handler := http.NotFoundHandler()
	require.NoError(t, m.Handle("GET /status", handler))
	require.NoError(t, m.Handle("/", handler), "all that is not more special is left to it")
	for pattern, want := range map[string]string{
		"GET /status":         `peer: handle "GET /status"`,
		"GET /{x":             "bad wildcard",
		"":                    "it has no path",
		"GET":                 "it has no path",
		"status":              "it has no path",
		"/stream/x":           "/stream belongs to the mesh",
		"GET /stream/{other}": "/stream belongs to the mesh",
		"/stre%61m/x":         "/stream belongs to the mesh",
		"POST /nodes":         "/nodes belongs to the mesh",
		"GET  multinode/x":    `it names the host "multinode"`,
		"/{any}/x":            "conflicts with pattern",
	} {
		require.ErrorContains(t, m.Handle(pattern, handler), want)
	}
	require.ErrorContains(t, m.Handle("/x", nil), "no handler")
	require.NoError(t, m.Close())
	require.ErrorIs(t, m.Handle("/x", handler), net.ErrClosed)
}

func TestHandleInSolo(t *testing.T) {
	m := Solo(Info{Cluster: "test"})
	require.NoError(t, m.Handle("/x", http.NotFoundHandler()))
	require.NoError(t, m.Close())
}

// An answer that lasts is no handshake: it takes no place of one, and has no time-out.
func TestLongAnswer(t *testing.T) {
	withTime(t, func(timeout time.Duration) bool {
		m := joinTest(t, openTemp(t), Options{handshakeTimeout: timeout})
		ticks, ended := make(chan string), make(chan struct{})
		require.NoError(t, m.Handle("GET /ticks", ticker(ticks, ended)))
		answer, err := tryNode(t, m, http.MethodGet, "/ticks", nil)
		if err != nil {
			return false
		}
		assert.Zero(t, m.server.Handshakes())
		lines := bufio.NewReader(answer.Body)
		for i := range 3 {
			time.Sleep(2 * timeout) // each is more than the server's ReadTimeout, and all are more than its WriteTimeout
			ticks <- fmt.Sprint(i)
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintln(i), line)
		}
		require.NoError(t, answer.Body.Close())
		receive(t, ended)
		require.Eventually(t, func() bool { return len(m.handlers.answers) == 0 }, limit, time.Millisecond)
		return true
	})
}

func TestLongAnswerWhileOthersSayNothing(t *testing.T) {
	d := openTemp(t)
	streams, onStream := collect()
	m := joinTest(t, d, Options{Self: Info{ID: 1}, handshakeTimeout: time.Hour}, onStream)
	ticks, ended := make(chan string), make(chan struct{})
	require.NoError(t, m.Handle("GET /ticks", ticker(ticks, ended)))
	require.NoError(t, m.Handle("GET /wait", http.HandlerFunc(wait)))
	for range localhttp.MaxHandshakes { // which would take all places, if they took any
		askNode(t, m, http.MethodGet, "/wait", nil)
	}
	answer := askNode(t, m, http.MethodGet, "/ticks", nil)
	startFlood(t, d, m.self.node())
	joinTest(t, d, Options{Self: Info{ID: 0}}, echo)
	receive(t, streams)
	ticks <- "still there"
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "still there\n", line)
}

// A connection that owes the body of its request may lose its place.
func TestOwedBodyGivesWay(t *testing.T) {
	d := openTemp(t)
	m := joinTest(t, d, Options{handshakeTimeout: time.Hour})
	require.NoError(t, m.Handle("POST /x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "done")
	})))
	for range localhttp.MaxHandshakes {
		conn := dialIdle(t, d, m.self.node())
		_, err := conn.Write([]byte("POST /x HTTP/1.1\r\nHost: multinode\r\nContent-Length: 9\r\n\r\n"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(m.handlers.answers) == localhttp.MaxHandshakes }, limit, time.Millisecond)
	assert.Equal(t, "done", content(t, askNode(t, m, http.MethodPost, "/x", strings.NewReader("something"))))
}

func TestBodyThatNeverComes(t *testing.T) {
	withTime(t, func(timeout time.Duration) bool {
		m := joinTest(t, openTemp(t), Options{handshakeTimeout: timeout})
		require.NoError(t, m.Handle("POST /x", http.NotFoundHandler()))
		answer := answerInTime(t, m, "POST /x HTTP/1.1\r\nHost: multinode\r\nContent-Length: 9\r\n\r\n")
		return answer != "" && assert.Contains(t, answer, "408 Request Timeout") && assert.Contains(t, answer, "the body did not come")
	})
}

// A client that stops reading is cut, so that the handler ends.
func TestLongAnswerNobodyReads(t *testing.T) {
	withTime(t, func(timeout time.Duration) bool {
		m := joinTest(t, openTemp(t), Options{handshakeTimeout: timeout})
		begun, ended := make(chan struct{}), make(chan struct{})
		require.NoError(t, m.Handle("GET /flood", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			defer close(ended)
			for piece := make([]byte, 1<<16); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		})))
		_, _ = io.WriteString(dialIdle(t, m.dir, m.self.node()), "GET /flood HTTP/1.1\r\nHost: multinode\r\n\r\n")
		select {
		case <-begun:
			receive(t, ended)
			return true
		case <-time.After(2 * timeout):
			return false
		}
	})
}

func TestTooManyLongAnswers(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{})
	require.NoError(t, m.Handle("GET /wait", http.HandlerFunc(wait)))
	for range maxAnswers {
		require.Equal(t, http.StatusOK, askNode(t, m, http.MethodGet, "/wait", nil).StatusCode)
	}
	answer := askNode(t, m, http.MethodGet, "/wait", nil)
	assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	assert.Contains(t, content(t, answer), "256 requests are being answered")
}

func TestCloseEndsLongAnswers(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{})
	ended := make(chan struct{})
	require.NoError(t, m.Handle("GET /ticks", ticker(nil, ended)))
	answer := askNode(t, m, http.MethodGet, "/ticks", nil)
	require.NoError(t, m.Close())
	select {
	case <-ended:
	default:
		t.Error("Close has not waited for the handler")
	}
	_, err := io.ReadAll(answer.Body)
	assert.Error(t, err)
}
