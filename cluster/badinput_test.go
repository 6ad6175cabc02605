//go:build linux

package cluster

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
)

// refused listens with opts, which must fail, and returns the error.
func refused(t *testing.T, opts Options) error {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	setDefault(&opts.Nodes, 1) // should it listen after all, it must not start this test again
	before := openDescriptors(t)
	n, err := Listen(opts, new(http.Server))
	if err == nil {
		require.NoError(t, n.Shutdown(t.Context()))
		require.Fail(t, "Listen accepts it")
	}
	assert.LessOrEqual(t, openDescriptors(t), before, "a Listen that fails leaves no descriptor open")
	assert.True(t, strings.HasPrefix(err.Error(), "cluster: "), err)
	t.Log(err)
	return err
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestPortOfAnOrdinaryServer(t *testing.T) {
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), programVariable+"=ordinary")
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() {
		require.NoError(t, server.Process.Kill())
		_ = server.Wait()
	}()
	var addr string
	_, err = fmt.Fscanln(out, &addr)
	require.NoError(t, err)

	err = refused(t, Options{Addr: addr, Dir: ownDir(t)})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.ErrorContains(t, err, addr)
	require.ErrorContains(t, err, fmt.Sprintf("cluster.test (pid %d)", server.Process.Pid))
	assert.ErrorContains(t, err, "choose another address")
}

func TestPortOfAnotherCluster(t *testing.T) {
	for _, disable := range []bool{false, true} {
		c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: disable})
		addr := c.ready(t)
		err := refused(t, Options{Addr: addr, Dir: ownDir(t)})
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		assert.ErrorContains(t, err, fmt.Sprintf("(pid %d)", survey(t, addr, 3)[1].PID))
	}
}

// TestTwoClustersAtOnce starts two clusters on one port at the same instant: one must win, and the other must get an error.
func TestTwoClustersAtOnce(t *testing.T) {
	t.Parallel()
	for range 4 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addr := free.Addr().String()
		require.NoError(t, free.Close())
		a := run(t, "http", programOptions{Nodes: 2, Addr: addr, DisableMasterListen: true})
		b := run(t, "http", programOptions{Nodes: 2, Addr: addr, DisableMasterListen: true})
		winner, loser := a, b
		select {
		case <-a.exited:
			winner, loser = b, a
		case <-b.exited:
		case <-time.After(patience):
			require.Fail(t, "both live")
		}
		code, stderr := loser.exit(t)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "address already in use")
		survey(t, winner.ready(t), 2)
		winner.signal(t, syscall.SIGTERM)
		winner.exit(t)
	}
}

func TestTakenDirectory(t *testing.T) {
	c := run(t, "http", programOptions{Nodes: 2, Name: "shop"})
	addr := c.ready(t)
	err := refused(t, Options{Dir: c.dir})
	require.ErrorContains(t, err, c.dir)
	require.ErrorContains(t, err, strconv.Itoa(c.cmd.Process.Pid))
	require.ErrorContains(t, err, `"shop"`)
	require.ErrorContains(t, err, addr)
	survey(t, addr, 2)
}

func TestDirectoryOfAnotherMode(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	err := refused(t, Options{Dir: dir})
	require.ErrorContains(t, err, dir)
	assert.ErrorContains(t, err, "chmod 0700")
}

func TestDirectoryOfAnotherUser(t *testing.T) {
	dir := "/usr"
	if os.Geteuid() == 0 {
		dir = t.TempDir()
		require.NoError(t, os.Chown(dir, 65534, 65534))
	}
	assert.ErrorContains(t, refused(t, Options{Dir: dir}), "uid ")
}

func TestDirectoryThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, refused(t, Options{Dir: file}), "not a directory")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	assert.ErrorContains(t, refused(t, Options{Dir: link}), "symbolic link")
}

func TestDirectoryThatIsTooLong(t *testing.T) {
	err := refused(t, Options{Dir: filepath.Join(t.TempDir(), strings.Repeat("x", 300))})
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)
	require.ErrorContains(t, err, "255")
	err = refused(t, Options{Dir: filepath.Join(t.TempDir(), strings.Repeat("x/", 3000))})
	require.ErrorIs(t, err, syscall.ENAMETOOLONG)

	long := filepath.Join(t.TempDir(), strings.Repeat("x", 200))
	c := run(t, "http", programOptions{Nodes: 2, Dir: long})
	survey(t, c.ready(t), 2) // longer than the address of a socket, and good
}

func TestNameThatIsNoFileName(t *testing.T) {
	for _, name := range []string{"a/b", "..", strings.Repeat("x", 300)} {
		refused(t, Options{Name: name})
	}
}

func TestAddressOfNoInterface(t *testing.T) {
	err := refused(t, Options{Addr: "192.0.2.200:0", Dir: ownDir(t)})
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	assert.ErrorContains(t, err, "no interface of this machine has that address")
}

func TestAddressThatIsNone(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:nonsense", "127.0.0.1:70000", "[::1:80"} {
		assert.ErrorContains(t, refused(t, Options{Addr: addr, Dir: ownDir(t)}), addr)
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	require.ErrorContains(t, refused(t, Options{Nodes: -1}), "option Nodes is -1")
	require.ErrorContains(t, refused(t, Options{Nodes: 5000}), "option Nodes is 5000")
	require.ErrorContains(t, refused(t, Options{StopTimeout: -time.Second}), "option StopTimeout is -1s")
	_, err := Listen(Options{}, (*http.Server)(nil))
	assert.ErrorContains(t, err, "nil *http.Server")
}

func TestRoleThatIsGarbage(t *testing.T) {
	c := run(t, "http", programOptions{Nodes: 2}, "MULTINODE_ROLE=garbage")
	code, stderr := c.exit(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "MULTINODE_ROLE")
	assert.Contains(t, stderr, "only a master sets")
}

// TestWorkerWithoutAMaster starts a worker by hand, as if its master had died before it came to Listen.
func TestWorkerWithoutAMaster(t *testing.T) {
	dir := ownDir(t)
	r := boot.Role{Cluster: "gone", Directory: dir, ID: 1, Slot: 1, Generation: 1, Incarnation: 1, Port: portgroup.Key{Network: "tcp", Address: "127.0.0.1:0"}}
	environ, err := r.Environ()
	require.NoError(t, err)
	c := run(t, "http", programOptions{Nodes: 2, Dir: dir}, environ)
	code, stderr := c.exit(t)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "cluster: the master is gone")
}
