package ways

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/prefork"

	"github.com/multinode-go/multinode/bench/internal/child"
)

var errStopping = errors.New("ways: the server stops")

// preforked is a prefork of a library. It starts as many workers as its master has for GOMAXPROCS.
func preforked(role, name, module, how string) plan {
	return plan{
		command:  func(c Config) (*exec.Cmd, error) { return command(role, task{Config: c}, c.Workers) },
		version:  func() (string, error) { return fmt.Sprintf("%s %s, %s", name, moduleVersion(module), how), nil },
		reserves: true, restart: (*Server).again,
	}
}

func runFasthttp(t task) error {
	server := &fasthttp.Server{Handler: handleFast}
	if prefork.IsChild() {
		go endOnSIGTERM(server.Shutdown) // until the process ends
	}
	p := prefork.New(server)
	p.Network, p.Reuseport, p.ShutdownGracePeriod = network(t.Addr), true, patience
	p.OnMasterDeath = func() { os.Exit(1) } // as its documentation has it
	p.ServeFunc = func(l net.Listener) error {
		t.sayPreforked()
		return server.Serve(l)
	}
	var stopping atomic.Bool
	p.OnChildSpawn = func(int) error {
		if stopping.Load() {
			return errStopping // fasthttp ends all workers, and waits for them
		}
		return nil
	}
	if !prefork.IsChild() {
		go stopWorkers(&stopping) // until the process ends
	}
	if err := p.ListenAndServe(t.Addr); !errors.Is(err, errStopping) {
		return err
	}
	return nil
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

// runFiber is Fiber's prefork. When a worker ends, for whatever reason, it kills the others and ends: that is also how it is
// stopped.
func runFiber(t task) error {
	app := fiber.New()
	app.Get("/", func(c fiber.Ctx) error { handleFast(c.RequestCtx()); return nil })
	if fiber.IsChild() {
		go endOnSIGTERM(app.Shutdown) // until the process ends
	} else {
		go stopWorkers(new(atomic.Bool)) // until the process ends
	}
	return app.Listen(t.Addr, fiber.ListenConfig{
		EnablePrefork: true, DisableStartupMessage: true, ListenerNetwork: network(t.Addr),
		ListenerAddrFunc: func(net.Addr) { t.sayPreforked() },
	})
}

// sayPreforked says that a worker serves, which both libraries give one CPU.
func (t task) sayPreforked() {
	runtime.GOMAXPROCS(t.share())
	sayWorkers(1, t.Addr)
}

// network is what a prefork listens on: one of the two, and for it Go's "tcp" is none.
func network(addr string) string {
	if strings.HasPrefix(addr, "[") {
		return "tcp6"
	}
	return "tcp4"
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

// stopWorkers ends the workers of a prefork when standard input ends. For fasthttp, the first one that has ended is replaced, for
// which it asks; Fiber then kills all.
func stopWorkers(stopping *atomic.Bool) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM) // this process goes on
	err := child.AwaitEnd()
	stopping.Store(true)
	if err := errors.Join(err, syscall.Kill(0, syscall.SIGTERM)); err != nil { // the group is the server
		fmt.Fprintln(os.Stderr, "ways:", err)
	}
}

// moduleVersion returns which version of a module this program is made of.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "of unknown version"
}
