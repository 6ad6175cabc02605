package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/bench/internal/child"
)

const (
	loadRole  = "load"
	delayRole = "load delay"
)

// What a load process says, a line each: that the warm-up is over, how far it is, and what came of it.
const (
	saidBegun = "begun"
	saidSoFar = "so far "
	saidEnd   = "end "
)

// Roles returns what this program runs in each of them.
func Roles() map[string]func() error {
	return map[string]func() error{loadRole: child.Role(runLoad), delayRole: child.Role(runDelay)}
}

// Runner is a load at work.
type Runner struct {
	process *child.Process
	stderr  bytes.Buffer
	begun   chan struct{}
	soFar   atomic.Pointer[Progress]
	done    chan struct{} // closed when the process has ended
	result  Result
	err     error // readable after done, as is result
}

// Progress is how far a load is.
type Progress struct{ Requests, Connections, Failed int64 }

// Start starts a load in a process of its own, which ends by itself, or with ctx, or with this process. The caller must
// Wait. The error is about the plan.
func Start(ctx context.Context, p Plan) (_ *Runner, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("load: %w", err)
		}
	}()
	if p, err = p.withDefaults(); err != nil {
		return nil, err
	}
	cmd, err := child.Command(ctx, loadRole, p)
	if err != nil {
		return nil, err
	}
	r := &Runner{begun: make(chan struct{}), done: make(chan struct{})}
	r.soFar.Store(new(Progress))
	cmd.Stderr = &r.stderr
	if r.process, err = child.Start("load", cmd); err != nil {
		return nil, err
	}
	go r.follow(ctx) // ends with the process; Wait waits for it
	return r, nil
}

// Begun is closed when the warm-up is over, or the process has ended before that.
func (r *Runner) Begun() <-chan struct{} { return r.begun }

// SoFar returns how far a load is that is Strict, as it has told some ten times a second.
func (r *Runner) SoFar() Progress { return *r.soFar.Load() }

// Stop ends a load that is Strict. Its result counts what was sent until then.
func (r *Runner) Stop() { r.process.End(nil) }

// Done is closed when the load has ended.
func (r *Runner) Done() <-chan struct{} { return r.done }

// Wait returns what came of the load when it has ended.
func (r *Runner) Wait() (Result, error) {
	<-r.done
	return r.result, r.err
}

// PID is the process.
func (r *Runner) PID() int { return r.process.PID() }

// follow reads what the load says.
func (r *Runner) follow(ctx context.Context) {
	defer close(r.done)
	begin := sync.OnceFunc(func() { close(r.begun) })
	defer begin()
	end := ""
	for line := range r.process.Lines() {
		if text, ok := strings.CutPrefix(line, saidSoFar); ok {
			p := new(Progress)
			if json.Unmarshal([]byte(text), p) == nil {
				r.soFar.Store(p)
			}
		} else if text, ok := strings.CutPrefix(line, saidEnd); ok {
			end = text
		} else {
			begin()
		}
	}
	err := r.process.Wait()
	if err == nil {
		err = json.Unmarshal([]byte(end), &r.result)
	}
	switch {
	case ctx.Err() != nil:
		r.err = fmt.Errorf("load: %w", context.Cause(ctx))
	case err != nil:
		r.err = fmt.Errorf("load: the process failed: %w: %s", err, bytes.TrimSpace(r.stderr.Bytes()))
	}
}

// runLoad is the load process. The end of its standard input stops a strict plan; of another one it says that nobody can want
// the answer any more.
func runLoad(p Plan) error {
	stop := make(chan struct{})
	go func() { // until the process ends
		_ = child.AwaitEnd()
		if p.Strict == nil {
			os.Exit(1)
		}
		close(stop)
	}()
	runtime.GOMAXPROCS(1)
	result, err := generate(p, stop)
	if err != nil {
		return err
	}
	return say(saidEnd, result)
}

func say(word string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Printf("%s%s\n", word, text)
	}
	return err
}
