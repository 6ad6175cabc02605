// Package control observes and operates a cluster from outside: it has a client for the control API on the socket of the master, and
// the types of its answers (Status, Event, the errors). docs/control.md describes the API.
//
// Package cluster uses the same types. This package does not import it, so that a tool stays small.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

const (
	// Header is in each answer of the control API; its value is Version.
	Header = "Multinode-API"
	// Version changes when something is removed from the API, or changes its meaning.
	Version = "1"
	// Socket is the name of the master's socket in the rendezvous directory of its cluster.
	Socket = "master.sock"
)

const (
	maxAnswer   = 16 << 20 // bytes that are read of an answer
	dialTimeout = 5 * time.Second
)

// Client sends requests to the master of a cluster. Its methods may be called at the same time; each opens a connection of its
// own, so a Client needs no Close, and stays valid when the master is replaced.
//
// Errors: [ErrNotRunning] when there is no master, an [*Error] when it refuses, [ErrNoAPI] while it starts, ctx.Err() at the end
// of ctx. An order continues when its caller disconnects.
type Client struct {
	dir  string
	http http.Client
}

// DefaultDirectory returns the rendezvous directory of the cluster of a name that was started in an environment as ours, and
// without Options.Dir: $XDG_RUNTIME_DIR/multinode/NAME, or else multinode-UID/NAME in the directory for temporary files. The
// error is that of a name that no cluster can have, or of a directory that others may change.
func DefaultDirectory(name string) (string, error) { return rendezvous.DefaultPath(name) }

// NewClient returns a client for the cluster that has a rendezvous directory: its Options.Dir, or else [DefaultDirectory]. It
// does not look whether that is there.
func NewClient(dir string) *Client {
	c := &Client{dir: dir}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) },
	}
	return c
}

// Dial connects to the socket of the master.
func (c *Client) Dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	path := filepath.Join(c.dir, Socket)
	const room = 100 // of the address of a socket, on all systems; unix(7)
	if len(path) > room {
		if handle, err := os.Open(c.dir); err == nil {
			defer handle.Close()
			short := fmt.Sprintf("/proc/self/fd/%d", handle.Fd())
			if _, err := os.Stat(short); err == nil {
				path = filepath.Join(short, Socket)
			}
		}
	}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	return conn, err
}

// Status returns the status of the cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	status, _, err := c.StatusJSON(ctx)
	return status, err
}

// StatusJSON is Status that also returns the text as the master has sent it, with fields that this program may not know.
func (c *Client) StatusJSON(ctx context.Context) (status Status, text []byte, err error) {
	text, err = c.ask(ctx, http.MethodGet, "/status", nil)
	if err != nil {
		return status, nil, err
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return status, nil, fmt.Errorf("the status: %w", err)
	}
	if status.Version != StatusVersion {
		return status, nil, versionError("the status", status.Version, StatusVersion)
	}
	return status, text, nil
}

// Waiting says whether an order waits for other orders, and its caller for the order.
type Waiting string

const (
	// Wait is for an order that waits until none runs before it, and a call that waits until the order is done.
	Wait Waiting = ""
	// RefuseBusy is Wait, but the call returns [ErrBusy] when another order runs. Reload and Scale know it.
	RefuseBusy Waiting = "busy=refuse"
	// NoWait is for a call that returns at once; the events show the progress of the order.
	NoWait Waiting = "wait=false"
)

// Reload replaces all workers, one after the other.
func (c *Client) Reload(ctx context.Context, w Waiting) error {
	return c.order(ctx, "/reload", w)
}

// Scale has n nodes accept connections.
func (c *Client) Scale(ctx context.Context, n int, w Waiting) error {
	return c.order(ctx, "/scale", w, "nodes", strconv.Itoa(n))
}

// Drain replaces the worker of an id.
func (c *Client) Drain(ctx context.Context, id int, w Waiting) error {
	return c.order(ctx, "/drain/"+strconv.Itoa(id), w)
}

// Pause excludes the node with that id from new connections until Resume, also by the masters that follow. It fails for the only
// node that gets connections, and where connections cannot be steered.
func (c *Client) Pause(ctx context.Context, id int) error {
	return c.order(ctx, "/pause/"+strconv.Itoa(id), Wait)
}

// Resume ends a Pause.
func (c *Client) Resume(ctx context.Context, id int) error {
	return c.order(ctx, "/resume/"+strconv.Itoa(id), Wait)
}

// Takeover replaces the master by a new process of the program, and no worker.
func (c *Client) Takeover(ctx context.Context, w Waiting) error {
	return c.order(ctx, "/takeover", w)
}

// Stop begins a graceful stop. The stream of events ends when the master stops.
func (c *Client) Stop(ctx context.Context) error { return c.order(ctx, "/stop", Wait) }

func (c *Client) order(ctx context.Context, path string, w Waiting, parameters ...string) error {
	query, err := url.ParseQuery(string(w))
	if err != nil {
		return fmt.Errorf("waiting %q: %w", w, err)
	}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	_, err = c.ask(ctx, http.MethodPost, path, query)
	return err
}

func (c *Client) ask(ctx context.Context, method, path string, query url.Values) ([]byte, error) {
	answer, err := c.open(ctx, method, path, query)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, gone(ctx, err)
	}
	return content, nil
}

// open returns the answer to a request, if the master has nothing against that.
func (c *Client) open(ctx context.Context, method, path string, query url.Values) (*http.Response, error) {
	address := url.URL{Scheme: "http", Host: "multinode", Path: path, RawQuery: query.Encode()}
	r, err := http.NewRequestWithContext(ctx, method, address.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil && method == http.MethodGet && ctx.Err() == nil && !errors.Is(err, ErrNotRunning) {
		answer, err = c.http.Do(r) // a master that is replaced leaves to its successor what it has not answered
	}
	if err != nil {
		return nil, gone(ctx, err)
	}
	if err := check(answer); err != nil {
		return nil, errors.Join(err, answer.Body.Close())
	}
	return answer, nil
}

// gone returns the error for a connection that failed.
func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the address, which says nothing
	}
	if errors.Is(err, ErrNotRunning) {
		return err
	}
	return fmt.Errorf("the master has gone before it could answer: %w", err)
}

func check(answer *http.Response) error {
	switch version := answer.Header.Get(Header); version {
	case Version:
	case "":
		return ErrNoAPI
	default:
		return versionError("the control API", version, Version)
	}
	if answer.StatusCode < http.StatusBadRequest {
		return nil
	}
	var said struct {
		Error string `json:"error"`
	}
	err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&said)
	if err != nil || said.Error == "" {
		said.Error = answer.Status
	}
	return &Error{answer.StatusCode, said.Error}
}

// FromNow is for [Client.Events]: none of the past.
const FromNow = -1

// Events returns the events after the one with Seq after, past and future: 0 begins with the oldest that the master keeps,
// [FromNow] with the next that happens. The caller has to close the stream; the end of ctx ends it.
func (c *Client) Events(ctx context.Context, after int) (*EventStream, error) {
	query := url.Values{}
	if after != FromNow {
		query.Set("after", strconv.Itoa(after))
	}
	answer, err := c.open(ctx, http.MethodGet, "/events", query)
	if err != nil {
		return nil, err
	}
	return &EventStream{body: answer.Body, lines: bufio.NewReader(answer.Body)}, nil
}

// EventStream reads the events of a cluster. One goroutine may call Next; Close may be called at the same time.
type EventStream struct {
	body  io.ReadCloser
	lines *bufio.Reader
	text  string
}

// Next waits for the next event. The error is io.EOF at the end of the stream: when the master stops, when this reader is too
// slow, and when ctx or the stream ends.
func (s *EventStream) Next() (e Event, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return e, io.EOF
		}
		data, found := strings.CutPrefix(strings.TrimSpace(line), "data:")
		if !found {
			continue
		}
		s.text = strings.TrimSpace(data)
		if err := json.Unmarshal([]byte(s.text), &e); err != nil {
			return e, fmt.Errorf("an event: %w", err)
		}
		return e, nil
	}
}

// JSON returns the last event as the master has sent it.
func (s *EventStream) JSON() string { return s.text }

// Close ends the stream.
func (s *EventStream) Close() error { return s.body.Close() }
