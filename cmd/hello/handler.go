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

// handler answers for its node. The first requests may come before cluster.Listen has returned: they wait until the
// node is told.
type handler struct {
	node *cluster.Node // readable after told
	told chan struct{}
}

func newHandler() *handler { return &handler{told: make(chan struct{})} }

func (h *handler) tell(node *cluster.Node) {
	h.node = node
	close(h.told)
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", h.hello)
	mux.HandleFunc("GET /sleep", h.sleep)
	mux.HandleFunc("GET /burn", h.burn)
	mux.HandleFunc("GET /crash", crash)
	return mux
}

func (h *handler) hello(w http.ResponseWriter, _ *http.Request) {
	<-h.told
	node := h.node
	w.Header().Set("X-Node-Id", strconv.Itoa(node.ID()))
	w.Header().Set("X-Node-Slot", strconv.Itoa(node.Slot()))
	w.Header().Set("X-Node-Generation", strconv.Itoa(node.Generation()))
	fmt.Fprintf(w, "hello from node %d (slot %d, pid %d)\n", node.ID(), node.Slot(), os.Getpid())
}

func (h *handler) sleep(w http.ResponseWriter, r *http.Request) {
	d, ok := duration(w, r)
	if !ok {
		return
	}
	select {
	case <-time.After(d):
		h.hello(w, r)
	case <-r.Context().Done():
	}
}

func (h *handler) burn(w http.ResponseWriter, r *http.Request) {
	d, ok := duration(w, r)
	if !ok {
		return
	}
	for end := time.Now().Add(d); time.Now().Before(end) && r.Context().Err() == nil; {
	}
	h.hello(w, r)
}

// crash ends the process as a fatal error would: nothing is finished, nobody is told.
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
