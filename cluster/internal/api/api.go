// Package api answers the control API of a master over HTTP. The types of its answers are those of package control, and
// docs/control.md describes it.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
)

// Master has the operations behind the API.
type Master interface {
	Status() control.Status
	// Reload replaces all workers. It waits for an order that runs, as Scale does.
	Reload(ctx context.Context) error
	// TryReload is Reload that returns control.ErrBusy when an order runs.
	TryReload(ctx context.Context) error
	Scale(ctx context.Context, n int) error
	TryScale(ctx context.Context, n int) error
	// Drain replaces one worker.
	Drain(ctx context.Context, id int) error
	// Pause keeps new connections from a node until Resume.
	Pause(ctx context.Context, id int) error
	Resume(ctx context.Context, id int) error
	// Takeover replaces the master.
	Takeover(ctx context.Context) error
	// Stop begins the stop, and does not wait for it.
	Stop()
	// Watch returns the events after the one with Seq after, past and future, see [journal.Journal.Watch].
	Watch(after int) (past []control.Event, next <-chan control.Event, cancel func())
}

// maxWaiting bounds the clients that read events, and those that wait for the end of an order, each. They may stay for ever, and
// together are half of the clients that the mesh serves: the other half is for short requests.
const maxWaiting = 64

type api struct {
	Master
	maxNodes         int
	readers, waiters chan struct{} // hold a value for each
}

// enter takes one of the places of waiting clients. leave frees it.
func enter(places chan struct{}, who, instead string) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, inputError(http.StatusServiceUnavailable, "%d %s are there, and there is room for no more: %s", maxWaiting, who, instead)
	}
}

// endpoint is one thing that the API can be asked for. Its handle returns an error as long as it has not answered.
type endpoint struct {
	method, path, parameters, about string
	handle                          func(w http.ResponseWriter, r *http.Request) error
}

func (a api) endpoints() []endpoint {
	return []endpoint{
		{"GET", "/{$}", "", "this text", a.help},
		{"GET", "/status", "", "the cluster and its nodes, as JSON", a.status},
		{"GET", "/events", "?after=SEQ", "what happens, as server-sent events", a.events},
		{"POST", "/reload", "?busy=refuse ?wait=false", "replace all workers, one after the other", a.reload},
		{"POST", "/scale", "?nodes=N ?busy=refuse ?wait=false", "have N nodes", a.scale},
		{"POST", "/drain/{id}", "?wait=false", "replace the worker of that id", a.drain},
		{"POST", "/pause/{id}", "", "let the node of that id get no new connections", a.pause("pause", a.Pause)},
		{"POST", "/resume/{id}", "", "let it get connections again", a.pause("resume", a.Resume)},
		{"POST", "/takeover", "?wait=false", "replace the master, and no worker", a.takeover},
		{"POST", "/stop", "", "stop the cluster gracefully", a.stop},
	}
}

// Handler returns the control API of a master, whose cluster can have so many nodes.
func Handler(m Master, maxNodes int) http.Handler {
	a := api{m, maxNodes, make(chan struct{}, maxWaiting), make(chan struct{}, maxWaiting)}
	mux := http.NewServeMux()
	for _, e := range a.endpoints() {
		mux.HandleFunc(e.method+" "+e.path, func(w http.ResponseWriter, r *http.Request) {
			if err := e.handle(w, r); err != nil {
				writeError(w, err)
			}
		})
		mux.HandleFunc(e.path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", e.method)
			writeError(w, inputError(http.StatusMethodNotAllowed, "%s %s: use %s", r.Method, r.URL.Path, e.method))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, inputError(http.StatusNotFound, "there is no %s here: GET / lists what there is", r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(control.Header, control.Version)
		mux.ServeHTTP(w, r)
	})
}

func (a api) help(w http.ResponseWriter, _ *http.Request) error {
	status := a.Status()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "multinode: the cluster %s at %s, master pid %d. Control API, version %s:\n\n",
		status.Cluster, status.Address, status.PID, control.Version)
	for _, e := range a.endpoints() {
		path := strings.NewReplacer("{$}", "", "{id}", "ID").Replace(e.path)
		line := fmt.Sprintf("%-4s %-11s %-47s %s", e.method, path, e.about, e.parameters)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(w, "\ncurl --unix-socket %s/master.sock http://multinode/status\n", status.Directory)
	return nil
}

func (a api) status(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, a.Status())
}

func (a api) reload(w http.ResponseWriter, r *http.Request) error {
	in, err := readInput(r, "busy", "wait")
	if err != nil {
		return err
	}
	return a.obey(w, r, "reload", in, a.Reload, a.TryReload)
}

func (a api) scale(w http.ResponseWriter, r *http.Request) error {
	in, err := readInput(r, "nodes", "busy", "wait")
	if err != nil {
		return err
	}
	n, err := in.number("nodes", 1, a.maxNodes)
	if err != nil {
		return err
	}
	return a.obey(w, r, "scale", in,
		func(ctx context.Context) error { return a.Scale(ctx, n) },
		func(ctx context.Context) error { return a.TryScale(ctx, n) })
}

func (a api) takeover(w http.ResponseWriter, r *http.Request) error {
	in, err := readInput(r, "wait")
	if err != nil {
		return err
	}
	return a.obey(w, r, "takeover", in, a.Takeover, nil)
}

func (a api) drain(w http.ResponseWriter, r *http.Request) error {
	in, err := readInput(r, "wait")
	if err != nil {
		return err
	}
	id, err := a.nodeID(r.PathValue("id"))
	if err != nil {
		return err
	}
	return a.obey(w, r, "drain", in, func(ctx context.Context) error { return a.Drain(ctx, id) }, nil)
}

// pause returns the handler of an order about a node that is carried out at once.
func (a api) pause(name string, order func(context.Context, int) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		in, err := readInput(r)
		if err != nil {
			return err
		}
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			return inputError(http.StatusBadRequest, "%.80q is no id of a node: status lists them", r.PathValue("id"))
		}
		return a.obey(w, r, name, in, func(ctx context.Context) error { return order(ctx, id) }, nil)
	}
}

// nodeID returns the id that text is, of a node that can be replaced: a worker that runs and is not leaving, or a master
// that accepts connections.
func (a api) nodeID(text string) (int, error) {
	nodes := a.Status().Nodes
	var ids []string
	for _, n := range nodes {
		if (!n.Master || n.Accepts) && n.PID != 0 && n.State != control.StateDraining {
			ids = append(ids, strconv.Itoa(n.ID))
		}
	}
	if slices.Contains(ids, text) {
		return strconv.Atoi(text)
	}
	if slices.ContainsFunc(nodes, func(n control.NodeStatus) bool { return n.Master && strconv.Itoa(n.ID) == text }) {
		return 0, inputError(http.StatusBadRequest,
			"node %s is the master, and accepts no connections that it could hand over: a takeover replaces it (SIGUSR2)", text)
	}
	if len(ids) == 0 {
		return 0, inputError(http.StatusNotFound, "no worker has the id %.80q: there is none that could be replaced", text)
	}
	return 0, inputError(http.StatusNotFound, "no worker has the id %.80q: those that could be replaced have %s",
		text, strings.Join(ids, ", "))
}

func (a api) stop(w http.ResponseWriter, r *http.Request) error {
	if _, err := readInput(r); err != nil {
		return err
	}
	// Before the stop, which may take the connection away.
	_ = writeJSON(w, http.StatusAccepted, accepted{"stop"})
	_ = http.NewResponseController(w).Flush() // one who is gone wanted the stop all the same
	a.Stop()
	return nil
}

// accepted is the answer to an order whose client does not wait, and done to one whose client does.
type accepted struct {
	Order string `json:"accepted"`
}

type done struct {
	Order string        `json:"done"`
	Took  time.Duration `json:"took"` // nanoseconds, as in Event
}

// obey carries out an order. It continues when the client disconnects: half a reload is worse than a whole one.
func (a api) obey(w http.ResponseWriter, r *http.Request, name string, in input, order, try func(context.Context) error) error {
	refuse, err := in.choice("busy", "wait", "refuse")
	if err != nil {
		return err
	}
	unwatched, err := in.choice("wait", "true", "false")
	if err != nil {
		return err
	}
	if refuse {
		order = try
	}
	if refuse && unwatched {
		return inputError(http.StatusBadRequest,
			"busy=refuse and wait=false: only a request that waits learns whether it is refused, so choose one of them")
	}
	if !unwatched {
		leave, err := enter(a.waiters, "clients that wait for an order", "end one of them, or use wait=false")
		if err != nil {
			return err
		}
		defer leave()
	}
	begin := time.Now()
	result := make(chan error, 1)
	ctx := context.WithoutCancel(r.Context())
	go func() { result <- order(ctx) }() // it ends with the order, which ends at the latest with the node
	if unwatched {
		return writeJSON(w, http.StatusAccepted, accepted{name})
	}
	select {
	case err := <-result:
		if errors.Is(err, control.ErrBusy) && refuse {
			return fmt.Errorf("%w, or without busy=refuse to wait for it", err)
		}
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, done{name, time.Since(begin)})
	case <-r.Context().Done():
		return nil
	}
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if known, ok := errors.AsType[*apiError](err); ok {
		status = known.status
	}
	switch {
	case errors.Is(err, control.ErrBusy):
		status = http.StatusConflict
	case errors.Is(err, control.ErrNoNode):
		status = http.StatusNotFound
	case errors.Is(err, control.ErrStopping):
		status = http.StatusServiceUnavailable
	case errors.Is(err, control.ErrOnlyNode):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, errors.ErrUnsupported):
		status = http.StatusNotImplemented
	}
	text := strings.TrimPrefix(err.Error(), "cluster: ")       // the client knows the cluster that it has asked
	_ = writeJSON(w, status, map[string]string{"error": text}) // a client that is gone needs no error
}

// writeJSON answers. It returns an error only if nothing was written.
func writeJSON(w http.ResponseWriter, status int, value any) error {
	content, err := json.MarshalIndent(value, "", "  ") // for people with curl
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(content, '\n')) // a client that is gone needs no answer
	return nil
}
