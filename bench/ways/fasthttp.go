//go:build linux

package ways

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/prefork"

	"github.com/multinode-go/multinode/bench/internal/child"
)

var errStopping = errors.New("ways: the server stops")

// fasthttpPlan is fasthttp's prefork. It starts as many workers as its master has for GOMAXPROCS.
func fasthttpPlan(c Config) (plan, error) {
	return plan{
		command: func(addr, _ string) (*exec.Cmd, error) {
			return command(fasthttpRole, task{Addr: addr, GOMAXPROCS: c.share()}, c.Workers)
		},
		version: "fasthttp " + moduleVersion("github.com/valyala/fasthttp") + ", prefork with Reuseport",
		workers: c.Workers, reserves: true,
	}, nil
}

func runFasthttp() error {
	var t task
	if err := child.Task(&t); err != nil {
		return err
	}
	server := &fasthttp.Server{Handler: handleFast}
	if prefork.IsChild() {
		go endOnSIGTERM(server.Shutdown) // until the process ends
	}
	p := prefork.New(server)
	p.Network, p.Reuseport, p.ShutdownGracePeriod = network(t.Addr), true, patience
	p.OnMasterDeath = func() { os.Exit(1) } // as its documentation has it
	p.ServeFunc = func(l net.Listener) error {
		runtime.GOMAXPROCS(t.GOMAXPROCS) // it has been set to 1
		fmt.Println(saidWorker + t.Addr)
		return server.Serve(l)
	}
	var children pidList
	p.OnChildSpawn = children.add
	if !prefork.IsChild() {
		go children.stopOne() // until the process ends
	}
	if err := p.ListenAndServe(t.Addr); !errors.Is(err, errStopping) {
		return err
	}
	return nil
}

// network is what a prefork listens on: one of the two, and for it Go's "tcp" is none.
func network(addr string) string {
	if strings.HasPrefix(addr, "[") {
		return "tcp6"
	}
	return "tcp4"
}

func handleFast(ctx *fasthttp.RequestCtx) {
	d, err := parseBurn(string(ctx.URI().QueryString()))
	if err != nil {
		ctx.Error(err.Error(), fasthttp.StatusBadRequest)
		return
	}
	burn(d)
	ctx.Response.Header.Set("Worker", pid)
	ctx.SetContentType(contentType)
	ctx.SetBodyString(body)
}

// endOnSIGTERM is how a worker is told to finish what it has begun.
func endOnSIGTERM(shutdown func() error) {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	<-terms
	if err := shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, "ways:", err)
	}
}

// pidList holds the workers of a prefork.
type pidList struct {
	mu       sync.Mutex
	pids     []int
	stopping bool
}

// add is a hook of fasthttp, whose error ends all workers, gracefully.
func (l *pidList) add(pid int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopping {
		return errStopping
	}
	l.pids = append(l.pids, pid)
	return nil
}

// stopOne ends a worker when standard input ends. For fasthttp, the next one calls add; Fiber then ends all.
func (l *pidList) stopOne() {
	err := awaitStop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
	for _, pid := range slices.Backward(l.pids) {
		if err = syscall.Kill(pid, syscall.SIGTERM); err == nil {
			return
		}
	}
	fmt.Fprintln(os.Stderr, "ways: no worker to end:", err)
}
