package rendezvous

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func files(t *testing.T, d *Directory) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	require.NoError(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// leaveSocket leaves a socket without a listener, as a killed process does.
func leaveSocket(t *testing.T, d *Directory, name string) {
	t.Helper()
	err := d.folder.at(name, func(path string) error {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		listener.SetUnlinkOnClose(false)
		return listener.Close()
	})
	require.NoError(t, err)
}

func TestPublishAndWithdraw(t *testing.T) {
	d := openTemp(t)
	n := Node{3, NewIncarnation()}
	p, err := d.Publish(n)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{n.LockName(), n.SocketName()}, files(t, d))
	gone, err := d.Sweep(n)
	require.NoError(t, err)
	assert.False(t, gone, "it lives")
	require.NoError(t, p.Withdraw())
	require.NoError(t, p.Listener().Close())
	assert.Empty(t, files(t, d))
}

func TestPublishFailedLeavesNothing(t *testing.T) {
	d := openTemp(t)
	n := Node{3, NewIncarnation()}
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), n.hidden()), nil, 0o600)) // its name is taken
	_, err := d.Publish(n)
	require.Error(t, err)
	assert.Equal(t, []string{n.hidden()}, files(t, d))
}

func TestSweep(t *testing.T) {
	n := Node{7, 0x9f86d081884c7d65}
	plain := func(name string) func(*testing.T, *Directory) {
		return func(t *testing.T, d *Directory) {
			t.Helper()
			require.NoError(t, os.WriteFile(filepath.Join(d.Path(), name), nil, 0o600))
		}
	}
	socket := func(name string) func(*testing.T, *Directory) {
		return func(t *testing.T, d *Directory) { t.Helper(); leaveSocket(t, d, name) }
	}
	link := func(name string) func(*testing.T, *Directory) {
		return func(t *testing.T, d *Directory) {
			t.Helper()
			target := filepath.Join(t.TempDir(), "target")
			require.NoError(t, os.WriteFile(target, nil, 0o600))
			require.NoError(t, os.Symlink(target, filepath.Join(d.Path(), name)))
		}
	}
	tests := []struct {
		name string
		make []func(*testing.T, *Directory)
		gone bool
		left []string
	}{
		{"killed", []func(*testing.T, *Directory){plain(n.LockName()), socket(n.SocketName())}, true, nil},
		{"killed while it published", []func(*testing.T, *Directory){plain(n.LockName()), socket(n.hidden())}, true, nil},
		{"no lock file", []func(*testing.T, *Directory){socket(n.SocketName())}, true, nil},
		{"nothing", nil, true, nil},
		{"plain file named like a socket", []func(*testing.T, *Directory){plain(n.SocketName())}, true, []string{n.SocketName()}},
		{"link named like a socket", []func(*testing.T, *Directory){link(n.SocketName())}, true, []string{n.SocketName()}},
		{"link named like a lock", []func(*testing.T, *Directory){link(n.LockName())}, false, []string{n.LockName()}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := openTemp(t)
			for _, make := range test.make {
				make(t, d)
			}
			gone, err := d.Sweep(n)
			assert.Equal(t, test.gone, gone)
			assert.Equal(t, test.gone, err == nil, err)
			assert.Equal(t, test.left, files(t, d))
		})
	}
}

// A lock that another process holds briefly for a sweep only delays the answer.
func TestSweepWhileAnotherLooks(t *testing.T) {
	d := openTemp(t)
	n := Node{7, NewIncarnation()}
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), n.LockName()), nil, 0o600))
	other, err := d.folder.tryAcquire(n.LockName(), 0)
	require.NoError(t, err)
	gone, err := d.Sweep(n)
	require.NoError(t, err)
	assert.False(t, gone)
	require.NoError(t, other.Close())
	gone, err = d.Sweep(n)
	require.NoError(t, err)
	assert.True(t, gone)
	assert.Empty(t, files(t, d))
}

// Nodes that start are found by others that sweep, between the moment they make the file and the one they lock it.
func TestPublishWhileOthersSweep(t *testing.T) {
	d := openTemp(t)
	done := make(chan struct{})
	swept := make(chan struct{})
	stop := sync.OnceFunc(func() {
		close(done)
		<-swept
	})
	defer stop()
	go func() { // ended by stop, which waits
		defer close(swept)
		for {
			select {
			case <-done:
				return
			default:
			}
			nodes, err := d.Nodes()
			assert.NoError(t, err)
			for n := range nodes {
				_, err := d.Sweep(n)
				assert.NoError(t, err)
			}
		}
	}()
	for range 200 {
		n := Node{1, NewIncarnation()}
		p, err := d.Publish(n)
		require.NoError(t, err)
		conn, err := d.Dial(n)
		require.NoError(t, err, "a published node can be dialed")
		require.NoError(t, errors.Join(conn.Close(), p.Withdraw(), p.Listener().Close()))
	}
	stop()
	assert.Empty(t, files(t, d))
}

// An incarnation that lives is not published again. There is nothing that could go away but the process itself.
func TestPublishNameInUse(t *testing.T) {
	d := openTemp(t)
	n := Node{3, NewIncarnation()}
	child.Start(t, childJob{Directory: d.Path(), Publish: &n})
	before := files(t, d)
	synctest.Test(t, func(t *testing.T) { // the wait for the holder of the lock takes no time here
		_, err := d.Publish(n)
		require.ErrorContains(t, err, "node "+n.String()+" is in use by another process")
		require.ErrorContains(t, err, filepath.Join(d.Path(), n.LockName()))
	})
	assert.Equal(t, before, files(t, d))
	conn, err := d.Dial(n)
	require.NoError(t, err, "it is where it was")
	require.NoError(t, conn.Close())
}

// An incarnation that was killed can be published again: its lock is free, and its socket is replaced.
func TestPublishNameOfTheDead(t *testing.T) {
	d := openTemp(t)
	n := Node{3, NewIncarnation()}
	c := child.Start(t, childJob{Directory: d.Path(), Publish: &n})
	c.End()
	p, err := d.Publish(n)
	require.NoError(t, err)
	conn, err := d.Dial(n)
	require.NoError(t, err)
	require.NoError(t, errors.Join(conn.Close(), p.Withdraw(), p.Listener().Close()))
	assert.Empty(t, files(t, d))
}
