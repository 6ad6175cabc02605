package proctest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// Role is a role of the test binary beside the tests: as the child of a test, it does a job and then lives until it is killed
// or its standard input ends.
type Role[Job any] struct {
	// Variable is the name of the environment variable with the job, as JSON.
	Variable string
	// Do does the job. leave, unless it is nil, undoes it at the end.
	Do func(job Job) (leave func() error, err error)
}

// Become does the job and does not return, if this process was started in the role. TestMain calls it first.
func (r Role[Job]) Become() {
	text, ok := os.LookupEnv(r.Variable)
	if !ok {
		return
	}
	if err := r.run(text); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ready is the line that a child prints when it has done its job.
const ready = "ready\n"

func (r Role[Job]) run(text string) error {
	var job Job
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	leave, err := r.Do(job)
	if err != nil {
		return err
	}
	fmt.Print(ready)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if leave == nil {
		return nil
	}
	return leave()
}

// Child is a process in a role. The end of the test kills it.
type Child struct {
	*os.Process
	Out *bufio.Reader // its standard output

	cmd   *exec.Cmd
	stdin io.Closer
}

// Start starts a child and waits until it has done the job.
func (r Role[Job]) Start(t *testing.T, job Job) *Child {
	t.Helper()
	c, err := r.start(t, job)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.End)
	if line, err := c.Out.ReadString('\n'); err != nil || line != ready {
		t.Fatalf("the child has said %q: %v", line, err)
	}
	return c
}

func (r Role[Job]) start(t *testing.T, job Job) (*Child, error) {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), r.Variable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Child{Process: cmd.Process, Out: bufio.NewReaderSize(stdout, 1<<20), cmd: cmd, stdin: stdin}, nil
}

// End kills the child and waits for its end. What it has written can no longer be read.
func (c *Child) End() {
	_ = c.Kill() // it may have ended
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
}

// Leave ends the standard input of the child, waits for its end, and returns how it failed.
func (c *Child) Leave() error {
	_ = c.stdin.Close()
	return c.cmd.Wait()
}
