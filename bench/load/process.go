package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// roleVariable says which of our processes this is.
const roleVariable = "MULTINODE_LOAD_ROLE"

// Role returns what this process is to run, if it was started as one of ours.
func Role() (run func() error, ok bool) {
	run, ok = map[string]func() error{"load": runLoad, "delay": runDelay}[os.Getenv(roleVariable)]
	return run, ok
}

// command is this program in another role.
func command(ctx context.Context, role string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	return cmd, nil
}

// Runner is a load at work.
type Runner struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	begun  chan struct{}
	done   chan struct{} // closed when the process has ended
	result Result
	err    error // readable after done, as is result
}

// Start starts a load in a process of its own, which ends by itself, or with ctx, or with this process. The caller must
// Wait. The error is about the plan, or Is errors.ErrUnsupported.
func Start(ctx context.Context, p Plan) (*Runner, error) {
	r, err := start(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return r, nil
}

func start(ctx context.Context, p Plan) (*Runner, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("needs Linux: %w", errors.ErrUnsupported)
	}
	cmd, err := command(ctx, "load")
	if err != nil {
		return nil, err
	}
	r := &Runner{cmd: cmd, begun: make(chan struct{}), done: make(chan struct{})}
	cmd.Stderr = &r.stderr
	in, err := cmd.StdinPipe() // open until Wait: its end would be that of the load
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go r.follow(ctx, out) // ends with the process; Wait waits for it
	if err := json.NewEncoder(in).Encode(p); err != nil {
		_ = cmd.Process.Kill()
		_, waitErr := r.Wait()
		return nil, errors.Join(err, waitErr)
	}
	return r, nil
}

// Begun is closed when the warm-up is over, or the process has ended before that.
func (r *Runner) Begun() <-chan struct{} { return r.begun }

// Wait returns what came of the load when it has ended.
func (r *Runner) Wait() (Result, error) {
	<-r.done
	return r.result, r.err
}

// PID is the process.
func (r *Runner) PID() int { return r.cmd.Process.Pid }

// follow reads what the load says: a line when the warm-up is over, and the result.
func (r *Runner) follow(ctx context.Context, out io.Reader) {
	defer close(r.done)
	lines := bufio.NewReader(out)
	_, err := lines.ReadString('\n')
	close(r.begun)
	if err == nil {
		err = json.NewDecoder(lines).Decode(&r.result)
	}
	_, _ = io.Copy(io.Discard, lines)
	if waitErr := r.cmd.Wait(); waitErr != nil {
		err = waitErr
	}
	switch {
	case ctx.Err() != nil:
		r.err = fmt.Errorf("load: %w", context.Cause(ctx))
	case err != nil:
		r.err = fmt.Errorf("load: the process failed: %w: %s", err, strings.TrimSpace(r.stderr.String()))
	}
}

// runLoad is the load process.
func runLoad() error {
	var p Plan
	in := json.NewDecoder(os.Stdin)
	if err := in.Decode(&p); err != nil {
		return err
	}
	p, err := p.withDefaults()
	if err != nil {
		return err
	}
	go endWith(os.Stdin) // until the process ends
	runtime.GOMAXPROCS(1)
	if err := bindTo(p.CPUs); err != nil {
		return err
	}
	result, err := generate(p, func() { fmt.Println("begun") })
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// endWith ends this process when nobody can want its answer any more.
func endWith(in io.Reader) {
	_, _ = io.Copy(io.Discard, in)
	os.Exit(1)
}
