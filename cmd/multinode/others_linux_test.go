package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// runsAsNobody runs the tool in a thread of user nobody.
func runsAsNobody(t *testing.T, place string, args ...string) (code int, stderr string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs two users: run as root")
	}
	var errs output
	var running sync.WaitGroup
	running.Go(func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with this goroutine
		// The system call itself is for one thread; unix.Setresuid is for all.
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody)
		if assert.Zero(t, errno) {
			a := &app{stdout: new(output), stderr: &errs, places: places{place}}
			code = a.run(context.Background(), args)
		}
	})
	running.Wait()
	return code, errs.String()
}

// TestClusterOfAnotherUser: it is not "not running".
func TestClusterOfAnotherUser(t *testing.T) {
	temp := tempPlace(t)
	require.NoError(t, os.Chmod(temp, 0o755))
	own := filepath.Join(temp, "multinode-"+strconv.Itoa(os.Geteuid()))
	theirs := filepath.Join(temp, "multinode-"+strconv.Itoa(nobody))
	require.NoError(t, os.Mkdir(own, 0o700))
	startFake(t, own, "shop")

	t.Run("by its directory", func(t *testing.T) {
		code, stderr := runsAsNobody(t, theirs, "status", "--dir", filepath.Join(own, "shop"))
		assert.Equal(t, codeFailed, code)
		assert.Contains(t, stderr, "belongs to user root")
		assert.Contains(t, stderr, "sudo -u root")
		for _, command := range []string{"stop", "logs", "events"} {
			code, stderr = runsAsNobody(t, theirs, command, "--dir", filepath.Join(own, "shop"))
			assert.Equal(t, codeFailed, code, command)
			assert.Contains(t, stderr, "belongs to user root", command)
		}
	})
	t.Run("by its name, where it can be seen", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("needs two users: run as root")
		}
		require.NoError(t, os.MkdirAll(filepath.Join(theirs, "market"), 0o700))
		for _, dir := range []string{theirs, filepath.Join(theirs, "market")} {
			require.NoError(t, os.Chown(dir, nobody, nobody))
		}
		code, _, stderr := runs(t, own, "status", "market")
		assert.Equal(t, codeFailed, code)
		assert.Contains(t, stderr, "user nobody runs one of that name")
		code, _, _ = runs(t, own, "status", "mall")
		assert.Equal(t, codeNotRunning, code)
	})
	t.Run("by its name, where it cannot", func(t *testing.T) {
		code, stderr := runsAsNobody(t, theirs, "status", "shop-of-"+strconv.Itoa(os.Getpid()))
		assert.Equal(t, codeNotRunning, code, "no process has that name in its command line: "+stderr)
		cat := exec.Command("tail", "-f", "/dev/null", "--pid", strconv.Itoa(os.Getpid()))
		cat.Args[0] = "shop-of-" + strconv.Itoa(os.Getpid())
		require.NoError(t, cat.Start())
		defer func() {
			_ = cat.Process.Kill()
			_ = cat.Wait()
		}()
		code, stderr = runsAsNobody(t, theirs, "status", cat.Args[0])
		assert.Equal(t, codeFailed, code)
		assert.Contains(t, stderr, "user root runs one of that name (process "+strconv.Itoa(cat.Process.Pid)+")")
	})
}

// TestDirIsNoDirectory: a file that is named by mistake is left alone.
func TestDirIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(file, []byte("127.0.0.1 localhost"), 0o600))
	for _, args := range [][]string{
		{"status", "--dir", file}, {"logs", "--dir", file}, {"stop", file}, {"run", "--dir", file, "--", "true"},
	} {
		code, _, stderr := runs(t, t.TempDir(), args...)
		assert.NotEqual(t, codeDone, code, args)
		assert.Contains(t, stderr, "not a directory", args)
		assert.NotContains(t, stderr, "rm ", args)
	}
}
