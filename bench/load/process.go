package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/multinode-go/multinode/bench/internal/child"
)

const (
	loadRole  = "load"
	delayRole = "load delay"
)

// Roles returns what this program runs in each of them.
func Roles() map[string]func() error {
	return map[string]func() error{loadRole: runLoad, delayRole: runDelay}
}

// Runner is a load at work.
type Runner struct {
	process *child.Process
	stderr  bytes.Buffer
	begun   chan struct{}
	done    chan struct{} // closed when the process has ended
	result  Result
	err     error // readable after done, as is result
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
	cmd, err := child.Command(ctx, loadRole, p)
	if err != nil {
		return nil, err
	}
	r := &Runner{begun: make(chan struct{}), done: make(chan struct{})}
	cmd.Stderr = &r.stderr
	if r.process, err = child.Start("load", cmd); err != nil {
		return nil, err
	}
	go r.follow(ctx) // ends with the process; Wait waits for it
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
func (r *Runner) PID() int { return r.process.PID() }

// follow reads what the load says: a line when the warm-up is over, and the result.
func (r *Runner) follow(ctx context.Context) {
	defer close(r.done)
	<-r.process.Lines()
	close(r.begun)
	err := json.Unmarshal([]byte(<-r.process.Lines()), &r.result)
	<-r.process.Ended()
	if failed := r.process.Wait(); failed != nil {
		err = failed
	}
	switch {
	case ctx.Err() != nil:
		r.err = fmt.Errorf("load: %w", context.Cause(ctx))
	case err != nil:
		r.err = fmt.Errorf("load: the process failed: %w: %s", err, bytes.TrimSpace(r.stderr.Bytes()))
	}
}

// runLoad is the load process.
func runLoad() error {
	var p Plan
	if err := child.Task(&p); err != nil {
		return err
	}
	go endWith(os.Stdin) // until the process ends
	runtime.GOMAXPROCS(1)
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
