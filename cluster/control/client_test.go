package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// master answers on the socket of a directory as handler does.
func master(t *testing.T, dir string, handler http.HandlerFunc) *control.Client {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(dir, control.Socket))
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(control.Header, control.Version)
		handler(w, r)
	})}
	served := make(chan error)
	go func() { served <- server.Serve(listener) }() // ended by Close
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		<-served
	})
	return control.NewClient(dir)
}

// place returns a directory with a path that fits into the address of a socket.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // short
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func TestOrders(t *testing.T) {
	asked := make(chan string, 1)
	c := master(t, place(t), func(_ http.ResponseWriter, r *http.Request) { asked <- r.Method + " " + r.URL.String() })
	for want, order := range map[string]func(context.Context) error{
		"POST /reload":                    func(ctx context.Context) error { return c.Reload(ctx, control.Wait) },
		"POST /reload?wait=false":         func(ctx context.Context) error { return c.Reload(ctx, control.NoWait) },
		"POST /scale?busy=refuse&nodes=4": func(ctx context.Context) error { return c.Scale(ctx, 4, control.RefuseBusy) },
		"POST /drain/7":                   func(ctx context.Context) error { return c.Drain(ctx, 7, control.Wait) },
		"POST /takeover?wait=false":       func(ctx context.Context) error { return c.Takeover(ctx, control.NoWait) },
		"POST /stop":                      c.Stop,
	} {
		require.NoError(t, order(t.Context()))
		assert.Equal(t, want, <-asked)
	}
}

func TestRefusals(t *testing.T) {
	code := 0
	c := master(t, place(t), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"error": "the reason"}`)
	})
	for _, test := range []struct {
		code    int
		is, not error
	}{
		{http.StatusConflict, control.ErrBusy, control.ErrNoNode},
		{http.StatusNotFound, control.ErrNoNode, control.ErrBusy},
		{http.StatusInternalServerError, nil, control.ErrBusy},
	} {
		code = test.code
		err := c.Drain(t.Context(), 1, control.Wait)
		require.EqualError(t, err, "the reason")
		require.NotErrorIs(t, err, test.not)
		if test.is != nil {
			require.ErrorIs(t, err, test.is)
		}
		var refused *control.Error
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, test.code, refused.Code)
	}
}

func TestDefaultDirectory(t *testing.T) {
	runtime := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	dir, err := control.DefaultDirectory("web")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(runtime, "multinode", "web"), dir)
	_, err = control.DefaultDirectory("../web")
	assert.Error(t, err)
}

func TestNoMaster(t *testing.T) {
	dir := place(t)
	_, err := control.NewClient(dir).Status(t.Context())
	require.ErrorIs(t, err, control.ErrNotRunning)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Contains(t, err.Error(), filepath.Join(dir, "master.sock"))
}

func TestAnswersOfOthers(t *testing.T) {
	for header, want := range map[string]error{"": control.ErrNoAPI, "7": control.ErrVersion} {
		c := master(t, place(t), func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(control.Header, header) })
		_, err := c.Status(t.Context())
		require.ErrorIs(t, err, want)
	}
	c := master(t, place(t), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version": 2}`) })
	_, err := c.Status(t.Context())
	assert.ErrorIs(t, err, control.ErrVersion)
}

// TestStatus: what this program does not know is in the text.
func TestStatus(t *testing.T) {
	const sent = `{"version": 1, "cluster": "web", "nodes": [{"id": 3, "state": "ready"}], "new": true}`
	c := master(t, place(t), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sent) })
	status, text, err := c.StatusJSON(t.Context())
	require.NoError(t, err)
	assert.Contains(t, string(text), `"new": true`)
	assert.Equal(t, control.NodeStatus{ID: 3, State: control.StateReady}, status.Nodes[0])
}

// TestMasterThatIsReplaced: it leaves a connection without an answer, and its successor answers.
func TestMasterThatIsReplaced(t *testing.T) {
	dir := place(t)
	listener, err := net.Listen("unix", filepath.Join(dir, control.Socket))
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(control.Header, control.Version)
		_, _ = io.WriteString(w, `{"version": 1}`)
	})}
	served := make(chan error)
	go func() { // ended by Close
		first, err := listener.Accept()
		if err == nil {
			err = first.Close()
		}
		served <- errors.Join(err, server.Serve(listener))
	}()
	_, err = control.NewClient(dir).Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, server.Close())
	assert.ErrorIs(t, <-served, http.ErrServerClosed)
}

func TestEvents(t *testing.T) {
	query := ""
	c := master(t, place(t), func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		_, _ = io.WriteString(w, ": a comment\n\nid: 4\nevent: ready\ndata: {\"seq\": 4, \"kind\": \"ready\", \"new\": 1}\n\n")
	})
	stream, err := c.Events(t.Context(), 3)
	require.NoError(t, err)
	e, err := stream.Next()
	require.NoError(t, err)
	assert.Equal(t, control.Event{Seq: 4, Kind: control.EventReady}, e)
	assert.Contains(t, stream.JSON(), `"new": 1`)
	_, err = stream.Next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, stream.Close())
	assert.Equal(t, "after=3", query)
}

// TestLongDirectory: the address of a Unix socket has 108 bytes (unix(7)), and a directory may have a longer path.
func TestLongDirectory(t *testing.T) {
	short := place(t)
	master(t, short, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version": 1}`) })
	long := filepath.Join(place(t), strings.Repeat("d", 120))
	require.NoError(t, os.Symlink(short, long))
	_, err := control.NewClient(long).Status(t.Context())
	assert.NoError(t, err)
}

func TestEndOfContext(t *testing.T) {
	asked := make(chan struct{})
	c := master(t, place(t), func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends with the request
		<-asked
		cancel()
	}()
	assert.ErrorIs(t, c.Reload(ctx, control.Wait), context.Canceled)
}
