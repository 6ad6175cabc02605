// Package nettest holds the streams of package peer against what golang.org/x/net/nettest wants of a net.Conn. It is a
// module of its own, so that users of the library do not get that dependency.
package nettest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/peer"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// members returns two meshes that are linked.
func members(t *testing.T) (low, high *peer.Mesh) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	meshes := make([]*peer.Mesh, 2)
	for id := range meshes {
		var err error
		meshes[id], err = peer.Join(t.Context(), peer.Options{Directory: dir, Self: peer.Info{Cluster: "test", ID: id + 1}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, meshes[id].Close()) })
	}
	return meshes[0], meshes[1]
}

// opener returns a function that opens a stream and returns both ends.
func opener(t *testing.T) func() (dialed, accepted *peer.Stream, err error) {
	t.Helper()
	low, high := members(t)
	listener, err := high.Listen("x")
	require.NoError(t, err)
	return func() (dialed, accepted *peer.Stream, err error) {
		if dialed, err = low.Dial(context.Background(), 2, "x"); err != nil {
			return nil, nil, err
		}
		conn, err := listener.Accept()
		if err != nil {
			return nil, nil, errors.Join(err, dialed.Close())
		}
		return dialed, conn.(*peer.Stream), nil
	}
}

func TestStreamIsAConn(t *testing.T) {
	open := opener(t)
	pipes := map[string]func() (c1, c2 net.Conn, stop func(), err error){
		"dialed first": func() (c1, c2 net.Conn, stop func(), err error) {
			dialed, accepted, err := open()
			return dialed, accepted, closeBoth(dialed, accepted), err
		},
		"accepted first": func() (c1, c2 net.Conn, stop func(), err error) {
			dialed, accepted, err := open()
			return accepted, dialed, closeBoth(dialed, accepted), err
		},
	}
	for name, pipe := range pipes {
		t.Run(name, func(t *testing.T) { nettest.TestConn(t, pipe) })
	}
}

func closeBoth(a, b *peer.Stream) func() {
	return func() {
		_ = a.Close() // the test may have done so
		_ = b.Close()
	}
}

// A half that is closed leaves the other one as it is, in both directions.
func TestHalfClose(t *testing.T) {
	open := opener(t)
	for range 2 {
		a, b, err := open()
		require.NoError(t, err)
		_, err = a.Write([]byte("question"))
		require.NoError(t, errors.Join(err, a.CloseWrite()))
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, "question", string(got))
		_, err = a.Write([]byte("more"))
		require.Error(t, err)
		_, err = b.Write([]byte("answer"))
		require.NoError(t, errors.Join(err, b.CloseWrite()))
		got, err = io.ReadAll(a)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
		require.NoError(t, errors.Join(a.Close(), b.Close()))
	}
}
