package proc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// selfVariable makes the test binary a child of StartSelf, and says which.
const selfVariable = "MULTINODE_TEST_SELF"

func TestMain(m *testing.M) {
	switch os.Getenv(selfVariable) {
	case "":
		os.Exit(leaktest.Run(m))
	case "panic":
		panic("it cannot go on")
	case "restored":
		fmt.Fprintln(os.Stderr, "in the pipe")
		if err := RestoreStderr(ExtraFile); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "beside the pipe")
		os.Exit(3)
	}
}

// exitOfProcess waits for the end of a process.
func exitOfProcess(t *testing.T, p *Process) (e Exit) {
	t.Helper()
	select {
	case e = <-p.Exited:
	case <-time.After(await.Limit):
		require.Fail(t, "the process has not ended")
	}
	return e
}

func TestStartSelfRemembersLastWords(t *testing.T) {
	for which, want := range map[string]Exit{
		"panic":    {Code: 2, LastWords: "panic: it cannot go on"},
		"restored": {Code: 3, LastWords: "in the pipe"},
	} {
		p, err := StartSelf("child", selfVariable+"="+which)
		require.NoError(t, err)
		assert.Equal(t, want, exitOfProcess(t, p), which)
		require.Error(t, p.Signal(os.Kill), "it has ended")
		p.Note() // which it has no tree for
	}
}

// shell is a program that runs a script.
func shell(script string, output io.Writer) *Program {
	return NewProgram(Config{Path: "/bin/sh", Args: []string{"-c", script}, StopSignal: syscall.SIGTERM, Output: output})
}

// lines passes what is written on to a channel, a Write each.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- strings.TrimSpace(string(b))
	return len(b), nil
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l:
		return line
	case <-time.After(await.Limit):
		require.Fail(t, "no line")
		return ""
	}
}

// TestProgramEndsWhatItHasStarted: a process that dies leaves another one behind, which is ended, and named.
func TestProgramEndsWhatItHasStarted(t *testing.T) {
	out := make(lines, 10)
	p, err := shell(`sleep 1000 & echo $MARK; echo no licence >&2; wait`, out).
		Start(Instance{Name: "one", Prefix: "1 | ", Mark: "mark-of-one"}, "MARK=mark-of-one")
	require.NoError(t, err)
	assert.Equal(t, "1 | mark-of-one", out.next(t))
	assert.Equal(t, "1 | no licence", out.next(t))
	require.NoError(t, p.Signal(syscall.SIGKILL))
	e := exitOfProcess(t, p)
	assert.Equal(t, syscall.SIGKILL, e.Signal)
	assert.Equal(t, "mark-of-one\nno licence", e.LastWords)
	assert.Empty(t, e.Alive)
}

func TestProgramThatIsNotThere(t *testing.T) {
	program := NewProgram(Config{Path: filepath.Join(t.TempDir(), "absent"), StopSignal: syscall.SIGTERM, Output: io.Discard})
	_, err := program.Start(Instance{Name: "one"})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestProgramAdopts watches a process that another one has started, and reads what it writes.
func TestProgramAdopts(t *testing.T) {
	reader, writer, err := lastingPipe()
	require.NoError(t, err)
	cmd := exec.Command("/bin/sh", "-c", "read word; echo $word; exec sleep 1000")
	cmd.Stdout, cmd.Stderr = writer, writer
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, writer.Close())
	require.NoError(t, reader.Close())

	out := make(lines, 10)
	p, err := shell("", out).Adopt(Instance{Name: "one", Prefix: "1 | ", Mark: "mark-of-one"}, cmd.Process.Pid)
	require.NoError(t, err)
	_, err = fmt.Fprintln(in, "hello")
	require.NoError(t, err)
	assert.Equal(t, "1 | hello", out.next(t))
	require.NoError(t, p.Signal(os.Kill))
	require.Error(t, cmd.Wait())
	e := exitOfProcess(t, p)
	assert.True(t, e.Unknown)
	assert.Equal(t, "hello", e.LastWords)
}

func TestAdoptOfNoProcess(t *testing.T) {
	_, err := Adopt(1 << 30)
	assert.Error(t, err)
}

// TestSocketPair talks with a child.
func TestSocketPair(t *testing.T) {
	ours, theirs, err := SocketPair()
	require.NoError(t, err)
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("echo hello >&%d", ExtraFile))
	cmd.ExtraFiles = []*os.File{theirs}
	require.NoError(t, cmd.Start())
	require.NoError(t, theirs.Close())
	said, err := io.ReadAll(ours)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(said))
	require.NoError(t, ours.Close())
	assert.NoError(t, cmd.Wait())
}
