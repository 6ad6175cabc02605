package rendezvous

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

const limit = await.Limit // for an event that has to come

// childEnv holds what the test binary does, as JSON, when it runs as the child of a test.
const childEnv = "RENDEZVOUS_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leaktest.Run(m))
}

type childJob struct {
	Directory string
	Lock      bool  // take the lock of the cluster
	Publish   *Node // publish this one
}

// child does its job, says so on standard output, and lives until it is killed or its standard input ends.
func child(job string) error {
	var c childJob
	if err := json.Unmarshal([]byte(job), &c); err != nil {
		return err
	}
	dir, err := Open(c.Directory)
	if err != nil {
		return err
	}
	if c.Lock {
		if _, err := dir.Lock(Owner{PID: os.Getpid(), Cluster: "test", Address: ":8080"}); err != nil {
			return err
		}
	}
	if c.Publish != nil {
		p, err := dir.Publish(*c.Publish)
		if err != nil {
			return err
		}
		defer p.Listener().Close()
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startChild starts a child that does job, waits until it has, and returns a function that kills it with SIGKILL.
func startChild(t *testing.T, job childJob) (pid int, kill func()) {
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
	kill = func() {
		_ = command.Process.Kill()
		_ = stdin.Close()
		_ = command.Wait()
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return command.Process.Pid, kill
}
