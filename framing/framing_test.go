package framing_test

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// patient bounds what a test waits for.
const patient = await.Limit

// socketPair returns both ends of a connection over a Unix socket.
func socketPair(tb testing.TB) (a, b net.Conn) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "framing") //nolint:usetesting // sun_path ends at 107 bytes, a test's name may not
	require.NoError(tb, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(tb, err)
	defer l.Close()
	a, err = net.Dial("unix", l.Addr().String())
	require.NoError(tb, err)
	b, err = l.Accept()
	require.NoError(tb, err)
	tb.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// pair returns two connections over a Unix socket, closed when the test ends. They have the time of a slow machine to close.
func pair(tb testing.TB, opts framing.Options) (a, b *framing.Conn) {
	tb.Helper()
	opts.CloseTimeout = cmp.Or(opts.CloseTimeout, patient)
	left, right := socketPair(tb)
	a, b = framing.New(left, opts), framing.New(right, opts)
	tb.Cleanup(func() { closeBoth(a, b) })
	return a, b
}

// closeBoth closes two ends of one connection, so that neither has to wait for the other.
func closeBoth(a, b *framing.Conn) {
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Close(framing.CodeNormal, "") }()
	_ = b.Close(framing.CodeNormal, "")
	<-done
}
