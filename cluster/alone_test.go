package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListenAlone(t *testing.T) {
	var log bytes.Buffer
	sys := system{balances: func() error { return http.ErrNotSupported }}
	n, err := listen(Options{
		Addr: "127.0.0.1:0", Nodes: 4, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}, &http.Server{Handler: http.NotFoundHandler()}, sys)
	require.NoError(t, err)
	require.NoError(t, n.WaitReady(t.Context()))
	assert.True(t, n.IsMaster())

	more, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	assert.NotZero(t, more.Addr().(*net.TCPAddr).Port)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr().String(), nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
	require.NoError(t, response.Body.Close())
	http.DefaultClient.CloseIdleConnections()

	require.ErrorIs(t, n.Reload(t.Context()), errors.ErrUnsupported)
	require.NoError(t, n.Shutdown(t.Context()))
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
	assert.Contains(t, log.String(), "serving with one node")
	_, err = more.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}
