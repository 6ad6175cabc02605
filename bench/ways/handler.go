//go:build linux

package ways

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
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
