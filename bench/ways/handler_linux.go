package ways

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

const (
	body        = "hello\n"
	contentType = "text/plain"

	// maxBacklog asks for as long a queue as net.core.somaxconn allows, which is what Go's net asks for.
	maxBacklog = 1<<16 - 1

	// maxBurn bounds what a request can ask for.
	maxBurn = 10 * time.Second

	// patience bounds how long requests in flight may take when a worker ends.
	patience = 4 * time.Minute
)

// pid is the value of the header Worker.
var pid = strconv.Itoa(os.Getpid())

// parseBurn returns what a query such as "burn=200" asks for. Other queries ask for nothing.
func parseBurn(query string) (time.Duration, error) {
	text, ok := strings.CutPrefix(query, "burn=")
	if !ok {
		return 0, nil
	}
	us, err := strconv.Atoi(text)
	d := time.Duration(us) * time.Microsecond
	if err != nil || d < 0 || d > maxBurn {
		return 0, fmt.Errorf("burn=%s: it must be microseconds, to %d", text, maxBurn.Microseconds())
	}
	return d, nil
}

// handle is the handler of all ways that use net/http.
func handle(w http.ResponseWriter, r *http.Request) {
	d, err := parseBurn(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	burn(d)
	w.Header().Set("Worker", pid)
	w.Header().Set("Content-Type", contentType)
	_, _ = io.WriteString(w, body) // a client that has gone needs no answer
}

func newServer() *http.Server {
	return &http.Server{
		Handler:  http.HandlerFunc(handle),
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(os.Stderr, nil), slog.LevelError),
	}
}

// shutdown lets requests in flight finish.
func shutdown(server interface{ Shutdown(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return server.Shutdown(ctx)
}

// baseline is what most Go services are. It may use all CPUs, and is restarted by a stop and a start.
func baseline() plan {
	return plan{command: ours(goRole, "", 0), alone: true, restart: (*Server).again}
}

func runGo(t task) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", t.Addr)
	if err != nil {
		return err
	}
	server := newServer()
	sayWorkers(1, l.Addr().String())
	return child.Serve(func() error { return server.Serve(l) }, func() error { return shutdown(server) })
}

// silence is how long a connection may have sent nothing before a worker that ends closes it, as http.Server.Shutdown has
// it.
const silence = 5 * time.Second

// serveCrew serves as a crew's worker, until the listener ends, and finishes what has begun without losing a request. It
// returns the listener's error. Shutdown alone would not do: from its call on, net/http closes a connection whose first request
// it has not read yet.
func serveCrew(l net.Listener) error {
	server := newServer()
	var open sync.WaitGroup // connections
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		default:
		}
	}
	sayWorkers(1, l.Addr().String())
	err := server.Serve(l)
	server.SetKeepAlivesEnabled(false) // it also closes idle connections
	finished := make(chan struct{})
	go func() { // ends with the connections, at the latest by Close
		open.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return err
	case <-time.After(silence):
		return errors.Join(err, shutdown(server), server.Close())
	}
}
