package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/journal"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// fakeController is a master whose orders a test carries out.
type fakeController struct {
	*journal.Journal[control.Event]

	nodes   []control.NodeStatus
	orders  chan string // what was asked for
	results chan error  // how it ends
	busy    bool        // another order runs
}

// maxNodes is how many nodes a test's cluster can have.
const maxNodes = 1024

func stamp(e control.Event, seq int, now time.Time) control.Event {
	e.Seq, e.Time = seq, now
	return e
}

func newFakeController() *fakeController {
	return &fakeController{
		Journal: journal.New(stamp),
		nodes: []control.NodeStatus{
			{ID: 0, PID: 10, Master: true, State: control.StateReady},
			{ID: 3, Slot: 1, PID: 13, State: control.StateReady},
			{ID: 7, Slot: 2, PID: 17, State: control.StateReady},
			{ID: 5, Slot: 3, State: control.StateWaiting},
			{ID: 6, Slot: 2, PID: 16, State: control.StateDraining},
		},
		orders: make(chan string, 10), results: make(chan error, 10),
	}
}

func (f *fakeController) Status() control.Status {
	return control.Status{
		Version: control.StatusVersion, Cluster: "web", Directory: "/run/web", PID: 10, Address: "127.0.0.1:8080", Nodes: f.nodes,
	}
}

// order waits for its result whatever becomes of the request, as a Node does.
func (f *fakeController) order(ctx context.Context, name string) error {
	f.orders <- name
	select {
	case err := <-f.results:
		return err
	case <-ctx.Done():
		f.orders <- "aborted"
		return ctx.Err()
	}
}

func (f *fakeController) try(ctx context.Context, name string) error {
	if f.busy {
		return fmt.Errorf("cluster: %s: %w", name, control.ErrBusy)
	}
	return f.order(ctx, name)
}

func (f *fakeController) Reload(ctx context.Context) error    { return f.order(ctx, "reload") }
func (f *fakeController) TryReload(ctx context.Context) error { return f.try(ctx, "try reload") }

func (f *fakeController) Scale(ctx context.Context, n int) error {
	return f.order(ctx, fmt.Sprint("scale ", n))
}

func (f *fakeController) TryScale(ctx context.Context, n int) error {
	return f.try(ctx, fmt.Sprint("try scale ", n))
}

func (f *fakeController) Drain(ctx context.Context, id int) error {
	return f.order(ctx, fmt.Sprint("drain ", id))
}

func (f *fakeController) Pause(ctx context.Context, id int) error {
	return f.order(ctx, fmt.Sprint("pause ", id))
}

func (f *fakeController) Resume(ctx context.Context, id int) error {
	return f.order(ctx, fmt.Sprint("resume ", id))
}

func (f *fakeController) Takeover(ctx context.Context) error { return f.order(ctx, "takeover") }

func (f *fakeController) Stop() { f.orders <- "stop" }

// apiTest is an API that a test asks.
type apiTest struct {
	*fakeController
	url string
}

func newAPITest(t *testing.T) apiTest {
	t.Helper()
	c := newFakeController()
	server := httptest.NewServer(Handler(c, maxNodes))
	t.Cleanup(server.Close)
	return apiTest{c, server.URL}
}

func (a apiTest) ask(t *testing.T, method, path, body string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	assert.Equal(t, "1", answer.Header.Get("Multinode-API"))
	return answer
}

func (a apiTest) askAll(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	response := a.ask(t, method, path, body)
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

func TestAPIStatus(t *testing.T) {
	a := newAPITest(t)
	code, answer := a.askAll(t, http.MethodGet, "/status", "")
	assert.Equal(t, http.StatusOK, code)
	var got control.Status
	require.NoError(t, json.Unmarshal([]byte(answer), &got))
	assert.Equal(t, a.Status(), got)
	assert.Contains(t, answer, "\"version\": 1,\n")
}

func TestAPIHelp(t *testing.T) {
	code, answer := newAPITest(t).askAll(t, http.MethodGet, "/", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, answer, "the cluster web at 127.0.0.1:8080, master pid 10")
	assert.Contains(t, answer, "\nPOST /drain/ID ")
	assert.Contains(t, answer, "curl --unix-socket /run/web/master.sock http://multinode/status\n")
}

func TestAPIOrders(t *testing.T) {
	a := newAPITest(t)
	for _, c := range []struct{ path, body, want string }{
		{"/reload", "", "reload"},
		{"/reload?busy=refuse", "", "try reload"},
		{"/reload?busy=wait&wait=true", "", "reload"},
		{"/reload", "busy=refuse", "try reload"},
		{"/scale?nodes=4", "", "scale 4"},
		{"/scale", "nodes=4", "scale 4"},
		{"/scale", `{"nodes": 4, "busy": "refuse"}`, "try scale 4"},
		{"/scale", ` {"nodes": "1024", "wait": true} `, "scale 1024"},
		{"/drain/7", "", "drain 7"},
		{"/takeover", "", "takeover"},
	} {
		a.results <- nil
		code, answer := a.askAll(t, http.MethodPost, c.path, c.body)
		assert.Equal(t, http.StatusOK, code, "%s %s", c.path, answer)
		assert.Regexp(t, `^{\n  "done": "(reload|scale|drain|takeover)",\n  "took": \d+\n}\n$`, answer)
		assert.Equal(t, c.want, <-a.orders)
	}
}

func TestAPIOrderThatIsNotWaitedFor(t *testing.T) {
	a := newAPITest(t)
	for path, want := range map[string]string{
		"/reload?wait=false": "reload", "/scale?nodes=2&wait=false": "scale 2", "/drain/3?wait=false": "drain 3",
	} {
		code, answer := a.askAll(t, http.MethodPost, path, "")
		assert.Equal(t, http.StatusAccepted, code)
		assert.Contains(t, answer, `"accepted": "`+want[:5])
		assert.Equal(t, want, <-a.orders)
		a.results <- nil
	}
	code, _ := a.askAll(t, http.MethodPost, "/stop", "")
	assert.Equal(t, http.StatusAccepted, code)
	assert.Equal(t, "stop", <-a.orders)
}

func TestAPIOrderGoesOnWithoutItsClient(t *testing.T) {
	a := newAPITest(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { // ended by cancel
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/reload", http.NoBody)
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			_ = answer.Body.Close()
		}
		gone <- err
	}()
	assert.Equal(t, "reload", <-a.orders)
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	select {
	case order := <-a.orders:
		t.Error(order)
	case <-time.After(50 * time.Millisecond): // the server has seen it by then
	}
	a.results <- nil
}

func TestAPIRefuses(t *testing.T) {
	a := newAPITest(t)
	a.busy = true
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/nothing", "", 404, "there is no /nothing here: GET / lists what there is"},
		{"GET", "/reload", "", 405, "GET /reload: use POST"},
		{"PUT", "/drain/3", "", 405, "PUT /drain/3: use POST"},
		{"POST", "/", "", 405, "POST /: use GET"},
		{"DELETE", "/status", "", 405, "DELETE /status: use GET"},
		{"POST", "/reload?busy=refuse", "", 409, `is running: try again when it is done, or without busy=refuse to wait for it`},
		{"POST", "/scale?nodes=2&busy=refuse", "", 409, "is running"},
		{"POST", "/reload?busy=no", "", 400, "busy=no: give wait (which is the default) or refuse"},
		{"POST", "/reload?wait=no", "", 400, "wait=no: give true (which is the default) or false"},
		{"POST", "/reload?busy=refuse&wait=false", "", 400, "choose one of them"},
		{"POST", "/reload?nodes=3", "", 400, `unknown parameter "nodes": /reload takes busy, wait`},
		{"POST", "/stop?now=1", "", 400, `unknown parameter "now": /stop takes none`},
		{"POST", "/reload?a=%zz", "", 400, "the query"},
		{"POST", "/scale", "", 400, "parameter nodes is missing: give a number from 1 to 1024"},
		{"POST", "/scale?nodes=0", "", 400, "nodes=0: give a number from 1 to 1024"},
		{"POST", "/scale?nodes=1025", "", 400, "nodes=1025"},
		{"POST", "/scale?nodes=four", "", 400, "nodes=four"},
		{"POST", "/scale?nodes=1", "nodes=2", 400, "parameter nodes is there 2 times"},
		{"POST", "/scale", `{"nodes": 2.5}`, 400, "nodes=2.5"},
		{"POST", "/scale", `{"nodes": [2]}`, 400, "is neither a number, a string nor a boolean"},
		{"POST", "/scale", `{"nodes": 2`, 400, "is no form like nodes=4 and no JSON object"},
		{"POST", "/scale", `{"nodes": 2} {}`, 400, "something is behind the object"},
		{"POST", "/scale", `{"node": 2}`, 400, `unknown parameter "node": /scale takes nodes, busy, wait`},
		{"POST", "/drain/0", "", 400, "node 0 is the master, and accepts no connections"},
		{"POST", "/drain/9", "", 404, `no worker has the id "9": those that could be replaced have 3, 7`},
		{"POST", "/drain/5", "", 404, `no worker has the id "5"`},
		{"POST", "/drain/6", "", 404, `no worker has the id "6"`},
		{"POST", "/drain/03", "", 404, `no worker has the id "03"`},
		{"POST", "/drain/x", "", 404, `no worker has the id "x"`},
		{"GET", "/events?after=x", "", 400, `after "x": give the id of an event`},
		{"GET", "/events?after=-1", "", 400, `after "-1"`},
	} {
		code, answer := a.askAll(t, c.method, c.path, c.body)
		assert.Equal(t, c.code, code, "%s %s %s", c.method, c.path, c.body)
		var object map[string]string
		require.NoError(t, json.Unmarshal([]byte(answer), &object), answer)
		assert.Contains(t, object["error"], c.want)
		assert.Len(t, object, 1)
	}
	assert.Empty(t, a.orders)
	a.nodes = nil
	_, answer := a.askAll(t, http.MethodPost, "/drain/3", "")
	assert.Contains(t, answer, "there is none that could be replaced")
}

func TestAPIOrderFails(t *testing.T) {
	a := newAPITest(t)
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{errors.New("slot 2: node 9 has not become ready"), 500, `"error": "slot 2: node 9 has not become ready"`},
		{fmt.Errorf("cluster: reload: %w", control.ErrStopping), 503, "the cluster stops"},
		{fmt.Errorf("cluster: drain: %w", control.ErrBusy), 409, `"error": "drain: a reload or a change of the number of nodes is running: try again when it is done"`},
	} {
		a.results <- c.err
		code, answer := a.askAll(t, http.MethodPost, "/reload", "")
		assert.Equal(t, c.code, code)
		assert.Contains(t, answer, c.want)
		<-a.orders
	}
}

// readEvents returns the next lines of a stream of events, without the empty ones between them.
func readEvents(t *testing.T, in *bufio.Reader, n int) (lines []string) {
	t.Helper()
	for len(lines) < n {
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		if line != "\n" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestAPIEvents(t *testing.T) {
	a := newAPITest(t)
	for range 3 {
		a.Emit(control.Event{Kind: control.EventStarted})
	}
	for _, c := range []struct {
		path, last string
		want       []string // ids
	}{
		{"/events", "", nil},
		{"/events?after=0", "", []string{"1", "2", "3"}},
		{"/events?after=2", "", []string{"3"}},
		{"/events?after=0", "1", []string{"2", "3"}}, // it was cut, and comes again
		{"/events", "8", []string{"1", "2", "3"}},    // and finds another master
	} {
		answer := a.ask(t, http.MethodGet, c.path, "", "Last-Event-ID", c.last)
		assert.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
		in := bufio.NewReader(answer.Body)
		assert.Equal(t, []string{": events of the cluster web, master pid 10"}, readEvents(t, in, 1))
		for _, id := range c.want {
			assert.Equal(t, "id: "+id, readEvents(t, in, 3)[0])
		}
		_ = answer.Body.Close()
	}
	in := bufio.NewReader(a.ask(t, http.MethodGet, "/events", "").Body)
	readEvents(t, in, 1)
	a.Emit(control.Event{Kind: control.EventReady, ID: 3, Slot: 1, Text: "two\nlines", Took: time.Second})
	lines := readEvents(t, in, 3)
	assert.Equal(t, []string{"id: 4", "event: ready"}, lines[:2])
	var e control.Event
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(lines[2], "data: ")), &e))
	assert.Equal(t, []any{4, control.EventReady, 3, 1, "two\nlines", time.Second}, []any{e.Seq, e.Kind, e.ID, e.Slot, e.Text, e.Took})
	a.Close()
	assert.Contains(t, readEvents(t, in, 1)[0], ": the end")
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	assert.Equal(t, "\n", string(rest), "the answer is complete")
}

func TestAPIEventsForgotten(t *testing.T) {
	a := newAPITest(t)
	for range journal.Capacity + 7 {
		a.Emit(control.Event{})
	}
	in := bufio.NewReader(a.ask(t, http.MethodGet, "/events?after=2", "").Body)
	assert.Equal(t, []string{": those from 3 to 7 are forgotten", "id: 8"}, readEvents(t, in, 3)[1:])
}

func TestAPIEventsKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*keepAlive+time.Second)
		defer cancel()
		answer := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", http.NoBody)
		Handler(newFakeController(), maxNodes).ServeHTTP(answer, r)
		assert.Equal(t, 3, strings.Count(answer.Body.String(), ": still here\n\n"))
	})
}

// onMesh answers the API on the socket of a master of a mesh, and returns a client for it.
func onMesh(t *testing.T, c Master) (*peer.Mesh, *http.Client) {
	t.Helper()
	base, err := os.MkdirTemp("", "") //nolint:usetesting // short: the client knows no way around the limit of sun_path
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(base)) })
	d, err := rendezvous.Open(filepath.Join(base, "d"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	opts := peer.Options{Self: peer.Info{Cluster: "web"}}
	inside.Set(&opts, inside.Options{Directory: d, NextID: func() int { return 0 }})
	m, err := peer.Join(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	require.NoError(t, m.Handle("/", Handler(c, maxNodes)))
	return m, &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(d.Path(), "master.sock"))
		},
	}}
}

// As a user sees it, on the socket of the master.
func TestAPIOnTheMesh(t *testing.T) {
	c := newFakeController()
	m, client := onMesh(t, c)
	events, err := client.Get("http://multinode/events")
	require.NoError(t, err)
	defer events.Body.Close()
	in := bufio.NewReader(events.Body)
	readEvents(t, in, 1)
	c.results <- nil
	answer, err := client.Post("http://multinode/scale", "", strings.NewReader(`{"nodes": 2}`))
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Equal(t, "scale 2", <-c.orders)
	c.Emit(control.Event{Kind: control.EventScaled})
	assert.Equal(t, []string{"id: 1", "event: scaled"}, readEvents(t, in, 3)[:2])
	require.NoError(t, m.Close())
	_, err = in.ReadString('x')
	assert.Error(t, err)
}

// TestAPIWithManyThatWait: clients that read events, or wait for an order to end, do not keep a stop out.
func TestAPIWithManyThatWait(t *testing.T) {
	for name, path := range map[string]string{"readers of events": "/events", "clients that wait for an order": "/reload"} {
		t.Run(name, func(t *testing.T) {
			c := newFakeController()
			c.orders = make(chan string, maxWaiting+1) // they begin, and have no result
			_, client := onMesh(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			var waiting sync.WaitGroup
			refused := make(chan string, 300)
			method := http.MethodGet
			if path == "/reload" {
				method = http.MethodPost
			}
			r, err := http.NewRequestWithContext(ctx, method, "http://multinode"+path, http.NoBody)
			require.NoError(t, err)
			for range cap(refused) {
				waiting.Go(func() {
					for {
						answer, err := client.Do(r.Clone(ctx))
						if ctx.Err() != nil {
							return // an order that was waited for until the end of the test
						}
						if err != nil {
							continue // as below: the connection may be closed before the answer is read
						}
						defer answer.Body.Close()
						if answer.StatusCode == http.StatusOK {
							<-ctx.Done()
							return
						}
						body, _ := io.ReadAll(answer.Body)
						if !strings.Contains(string(body), "too many connections") {
							refused <- fmt.Sprintln(answer.StatusCode, string(body))
							return
						} // else the mesh took a crowd that was slow to speak for a flood
					}
				})
			}
			for range cap(refused) - maxWaiting {
				text := <-refused
				assert.Contains(t, text, "503 ")
				assert.Contains(t, text, "64 "+name)
			}
			answer, err := client.Post("http://multinode/stop", "", http.NoBody)
			require.NoError(t, err)
			defer answer.Body.Close()
			assert.Equal(t, http.StatusAccepted, answer.StatusCode)
			cancel()
			waiting.Wait()
			close(c.results)
		})
	}
}

func FuzzAPIInput(f *testing.F) {
	f.Add("nodes=4&busy=refuse", `{"nodes": 4}`)
	f.Add("", `{"nodes": {"a": 1}}`)
	f.Fuzz(func(t *testing.T, query, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/scale", strings.NewReader(body))
		r.URL.RawQuery = query
		in, err := readInput(r, "nodes", "busy")
		if err != nil {
			return
		}
		if n, err := in.number("nodes", 1, maxNodes); err == nil {
			assert.Positive(t, n)
		}
	})
}
