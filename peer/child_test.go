package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// childEnv holds what the test binary does, as JSON, when it runs as the child of a test.
const childEnv = "PEER_TEST_CHILD"

type childJob struct {
	Directory string
	Lock      bool // take the lock of the cluster

	Join             bool
	Guest            bool
	ID               int
	Incarnation      rendezvous.Incarnation `json:",omitempty"`
	HandshakeTimeout time.Duration
}

// child does its job, says so on standard output, and lives until it is killed or its standard input ends.
func child() int {
	var job childJob
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &job); err != nil {
		return childFailed(err)
	}
	dir, err := rendezvous.Open(job.Directory)
	if err != nil {
		return childFailed(err)
	}
	if job.Lock {
		if _, err := dir.Lock(rendezvous.Owner{PID: os.Getpid(), Cluster: "test", Address: ":8080"}); err != nil {
			return childFailed(err)
		}
	}
	leave := func() error { return nil }
	if job.Join {
		opts := Options{
			Directory: dir.Path(), Self: Info{Cluster: "test", ID: job.ID, Incarnation: job.Incarnation},
			handshakeTimeout: job.HandshakeTimeout,
		}
		if job.ID == 0 && !job.Guest {
			opts.inside.NextID = noGuests
		}
		m, err := Join(context.Background(), opts)
		if err != nil {
			return childFailed(err)
		}
		if _, err := m.OnStream("x", nil, echo); err != nil {
			return childFailed(err)
		}
		leave = m.Close
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := leave(); err != nil {
		return childFailed(err)
	}
	return 0
}

func childFailed(err error) int {
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

// startChild starts a child that does job, waits until it has, and returns a function that kills it with SIGKILL.
func startChild(t *testing.T, job childJob) (pid int, kill func()) {
	t.Helper()
	c := runChild(t, job)
	return c.pid, c.kill
}

type childProcess struct {
	pid   int
	kill  func() // with SIGKILL
	leave func() // closes its mesh and ends
}

// runChild starts a child that does job, and waits until it has.
func runChild(t *testing.T, job childJob) childProcess {
	t.Helper()
	content, err := json.Marshal(job)
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), childEnv+"="+string(content))
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	require.NoError(t, err)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	c := childProcess{pid: command.Process.Pid}
	c.kill = func() {
		_ = command.Process.Kill()
		_ = stdin.Close()
		_ = command.Wait()
	}
	c.leave = func() {
		_ = stdin.Close()
		assert.NoError(t, command.Wait())
	}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return c
}
