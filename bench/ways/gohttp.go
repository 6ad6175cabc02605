//go:build linux

package ways

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os/exec"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// goPlan is what most Go services are. It is restarted by a stop and a start.
func goPlan(Config) (plan, error) {
	return plan{
		command: func(addr, _ string) (*exec.Cmd, error) {
			return command(goRole, task{Addr: addr}, 0) // all CPUs
		},
		workers: 1, mainServes: true,
	}, nil
}

func runGo() error {
	var t task
	if err := child.Task(&t); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", t.Addr)
	if err != nil {
		return err
	}
	server, served := newServer(), make(chan error, 1)
	go func() { served <- server.Serve(l) }() // ends by Shutdown
	sayWorkers(1, l.Addr().String())
	if err := errors.Join(awaitStop(), shutdown(server)); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
