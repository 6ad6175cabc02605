//go:build linux

package ways

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"runtime/debug"

	"github.com/gofiber/fiber/v3"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// fiberPlan is Fiber's prefork. It starts as many workers as its master has for GOMAXPROCS. When one ends, for whatever
// reason, it kills the others and ends: that is also how it is stopped.
func fiberPlan(c Config) (plan, error) {
	return plan{
		command: func(addr, _ string) (*exec.Cmd, error) {
			return command(fiberRole, task{Addr: addr, GOMAXPROCS: c.share()}, c.Workers)
		},
		version: "fiber " + moduleVersion("github.com/gofiber/fiber/v3") + ", EnablePrefork",
		workers: c.Workers, reserves: true,
	}, nil
}

func runFiber() error {
	var t task
	if err := child.Task(&t); err != nil {
		return err
	}
	app := fiber.New()
	app.Get("/", handleFiber)
	var children pidList
	if fiber.IsChild() {
		go endOnSIGTERM(app.Shutdown) // until the process ends
	} else {
		app.Hooks().OnFork(children.add)
		go children.stopOne() // until the process ends
	}
	return app.Listen(t.Addr, fiber.ListenConfig{
		EnablePrefork: true, DisableStartupMessage: true, ListenerNetwork: network(t.Addr),
		ListenerAddrFunc: func(net.Addr) {
			runtime.GOMAXPROCS(t.GOMAXPROCS) // it has been set to 1
			fmt.Println(saidWorker + t.Addr)
		},
	})
}

func handleFiber(c fiber.Ctx) error {
	d, err := parseBurn(string(c.Request().URI().QueryString()))
	if err != nil {
		return fiber.NewError(http.StatusBadRequest, err.Error())
	}
	burn(d)
	c.Set("Worker", pid)
	c.Set(fiber.HeaderContentType, contentType)
	return c.SendString(body)
}

// moduleVersion returns which version of a module this program is made of.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "of unknown version"
}
