package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"time"

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
	if p.Endless {
		return nil, errors.New("plan: Endless takes Generate")
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

// Hooks are what a process takes part in that carries out a plan by itself. Each may be nil. They are called by one goroutine,
// which is the load: they must not take time.
type Hooks struct {
	Begun  func()                                    // the warm-up is over
	SoFar  func(answered, connections, failed int64) // ten times a second
	Failed func(Failure)                             // a request has failed
	Stop   <-chan struct{}                           // ends a plan without a Duration when it is closed
}

// Failure is a request that has failed.
type Failure struct {
	Kind      string // as in Result.Failed
	Error     string
	Local     netip.AddrPort // of its connection; the zero value if that has not come to be
	Worker    string         // who has answered on the connection before
	Took, Age time.Duration  // since the request was begun, and the connection
}

// Generate carries out a plan in this process, with a thread of its own.
func Generate(p Plan, h Hooks) (Result, error) {
	p, err := p.withDefaults()
	if err != nil {
		return Result{}, fmt.Errorf("load: %w", err)
	}
	return generate(p, h)
}

// runLoad is the load process.
func runLoad() error {
	var p Plan
	if err := child.Task(&p); err != nil {
		return err
	}
	go endWith(os.Stdin) // until the process ends
	runtime.GOMAXPROCS(1)
	result, err := Generate(p, Hooks{Begun: func() { fmt.Println("begun") }})
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
