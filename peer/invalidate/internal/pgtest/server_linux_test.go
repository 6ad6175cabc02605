package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// integrationVariable is set where a program that is missing is a failure.
const integrationVariable = "MULTINODE_INTEGRATION"

// startServer starts PostgreSQL with an empty database, in a folder that goes with the test, and returns how to connect to it.
func startServer(t *testing.T) (connect string) {
	t.Helper()
	initdb, postgres := program(t, "initdb"), program(t, "postgres")
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // the server runs as another user, who does not get at t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	identity := unprivileged(t, dir)
	data := filepath.Join(dir, "data")
	said, err := command(identity, initdb, "-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	require.NoError(t, err, "%s", said)

	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	server := command(identity, postgres, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Stdout, server.Stderr = log, log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		assert.NoError(t, server.Process.Signal(syscall.SIGINT)) // a fast shutdown
		assert.NoError(t, server.Wait())
		assert.NoError(t, log.Close())
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("PostgreSQL said:\n%s", said)
		}
	})
	connect = fmt.Sprintf("host=%s user=test database=postgres", dir)
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), connect)
		return err == nil && conn.Close(t.Context()) == nil
	}, patient, 10*time.Millisecond, "it answers")
	return connect
}

// program returns the path of a program of PostgreSQL. On Debian it is not in PATH.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	paths, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	require.NoError(t, err)
	if len(paths) > 0 {
		return paths[len(paths)-1]
	}
	const missing = "PostgreSQL is not installed: apt-get install postgresql"
	if os.Getenv(integrationVariable) != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// unprivileged returns the user of the server, which refuses root, and makes it the owner of the folder.
func unprivileged(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	account, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, int(uid), int(gid)))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func command(as *syscall.Credential, path string, args ...string) *exec.Cmd {
	c := exec.CommandContext(context.Background(), path, args...) // ended by a signal
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return c
}
