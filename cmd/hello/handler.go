package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/cluster"
)

// maxDuration bounds what /sleep and /burn can be asked for.
const maxDuration = time.Minute

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", hello)
	mux.HandleFunc("GET /sleep", sleep)
	mux.HandleFunc("GET /burn", burn)
	mux.HandleFunc("GET /crash", crash)
	return mux
}

func hello(w http.ResponseWriter, r *http.Request) {
	node, _ := cluster.FromContext(r.Context())
	w.Header().Set("X-Node-Id", strconv.Itoa(node.ID()))
	w.Header().Set("X-Node-Slot", strconv.Itoa(node.Slot()))
	w.Header().Set("X-Node-Generation", strconv.Itoa(node.Generation()))
	fmt.Fprintf(w, "hello from node %d (slot %d, pid %d)\n", node.ID(), node.Slot(), os.Getpid())
}

func sleep(w http.ResponseWriter, r *http.Request) {
	d, ok := duration(w, r)
	if !ok {
		return
	}
	select {
	case <-time.After(d):
		hello(w, r)
	case <-r.Context().Done():
	}
}

func burn(w http.ResponseWriter, r *http.Request) {
	d, ok := duration(w, r)
	if !ok {
		return
	}
	for end := time.Now().Add(d); time.Now().Before(end) && r.Context().Err() == nil; {
	}
	hello(w, r)
}

// crash ends the process as a fatal error would: no request is finished, and no message is sent.
func crash(http.ResponseWriter, *http.Request) {
	fmt.Fprintln(os.Stderr, "hello: asked to crash")
	os.Exit(1)
}

// duration reads the parameter d; it has answered the request when it is wrong.
func duration(w http.ResponseWriter, r *http.Request) (time.Duration, bool) {
	d, err := time.ParseDuration(r.FormValue("d"))
	if err != nil || d < 0 || d > maxDuration {
		http.Error(w, fmt.Sprintf("d=%q: want a duration from 0s to %v, as in %s?d=100ms",
			r.FormValue("d"), maxDuration, r.URL.Path), http.StatusBadRequest)
		return 0, false
	}
	return d, true
}
