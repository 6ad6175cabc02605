package localhttp

import (
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCloseBesideTheEndOfAListener: the owner of a listener that closes it in the moment of Close is no error.
func TestCloseBesideTheEndOfAListener(t *testing.T) {
	for range 300 {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
		require.NoError(t, err)
		s := NewServer(Config{Handler: http.NotFoundHandler(), Timeout: time.Minute, MaxHeader: 1000, Log: slog.New(slog.DiscardHandler)})
		var serving sync.WaitGroup
		serving.Go(func() { s.Serve(l) }) // ends with l
		conn, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		require.NoError(t, err)
		conn.Close()
		l.Close()
		require.NoError(t, s.Close())
		serving.Wait()
	}
}
