package protocol

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/reuseport"
)

// What is on the wire is read by processes that run another version: a program that is reloaded, or whose master is replaced, is
// just that. The transcripts are those of the first version that had this protocol. A field may be added, and none may change.

var (
	goldenPort     = portgroup.Key{Network: "tcp", Address: ":80", Nth: 1}
	goldenSource   = netip.MustParseAddrPort("[::1]:4711")
	goldenSnapshot = portgroup.Snapshot{At: 7, Inodes: []uint32{3, 4}}
	goldenSteering = reuseport.Steering{Weights: []uint32{0, 1}, Mark: &reuseport.Mark{Port: 4711, Index: 1}}
)

const goldenKey = `"port":{"network":"tcp","address":":80","nth":1}`

// exchange is a request on the wire, and its answer.
type exchange struct {
	request, answer string
	got             any // what the caller has from the answer
}

// askGolden makes a call over a stream whose other end compares it with the request of x, and answers.
func askGolden(t *testing.T, x exchange, call func(stream net.Conn) (served <-chan error, got any, err error)) {
	t.Helper()
	a, b := net.Pipe()
	far := framing.New(b, framing.Options{})
	answered := make(chan struct{})
	go func() { // ends with the call
		defer close(answered)
		m, err := far.Receive(context.Background())
		if assert.NoError(t, err) {
			assert.JSONEq(t, x.request, string(m.Data))
		}
		if x.answer != "" {
			assert.NoError(t, far.SendMessage(context.Background(), framing.Message{Type: framing.Text, Data: []byte(x.answer)}))
		}
	}()
	served, got, err := call(a)
	<-answered
	if want, failed := x.got.(error); failed {
		require.ErrorIs(t, err, want)
	} else {
		require.NoError(t, err)
		assert.Equal(t, x.got, got)
	}
	_ = far.Close(framing.CodeNone, "")
	require.NoError(t, <-served)
}

func TestGoldenRequestsOfAMaster(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		call func(Worker) (any, error)
		exchange
	}{
		{
			func(w Worker) (any, error) { return nil, w.Stop(Stop{Timeout: 5, All: true}) },
			exchange{`{"kind":"stop","timeout":5,"all":true}`, "", nil},
		},
		{
			func(w Worker) (any, error) { return w.Open(ctx, goldenPort, "[::]:80") },
			exchange{`{"kind":"open","seq":1,` + goldenKey + `,"address":"[::]:80"}`, `{"kind":"answer","seq":1,"inode":9}`, uint32(9)},
		},
		{
			func(w Worker) (any, error) { return w.Open(ctx, goldenPort, "[::]:80") },
			exchange{
				`{"kind":"open","seq":1,` + goldenKey + `,"address":"[::]:80"}`,
				`{"kind":"answer","seq":1,"error":"bind: address already in use","errno":98}`, syscall.Errno(98),
			},
		},
		{
			func(w Worker) (any, error) { return nil, w.Shut(ctx, goldenPort) },
			exchange{`{"kind":"shut","seq":1,` + goldenKey + `}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) { return nil, w.Rejoin(ctx, goldenPort) },
			exchange{`{"kind":"move","seq":1,` + goldenKey + `}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) { return nil, w.Attach(ctx, goldenPort, goldenSteering, 5) },
			exchange{
				`{"kind":"attach","seq":1,` + goldenKey + `,"steering":{"weights":[0,1],"mark":{"port":4711,"index":1}},"until":5}`,
				`{"kind":"answer","seq":1}`, nil,
			},
		},
		{
			func(w Worker) (any, error) { return nil, w.SetCPU(ctx, goldenPort, -1) },
			exchange{`{"kind":"cpu","seq":1,` + goldenKey + `,"cpu":-1}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) { return nil, w.Help(ctx, goldenPort, true) },
			exchange{`{"kind":"help","seq":1,` + goldenKey + `,"help":true}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) { return nil, w.Expect(ctx, goldenPort, goldenSource) },
			exchange{`{"kind":"expect","seq":1,` + goldenKey + `,"source":"[::1]:4711"}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) {
				_, err := w.Await(ctx, goldenPort, goldenSource)
				return nil, err
			},
			exchange{`{"kind":"await","seq":1,` + goldenKey + `,"source":"[::1]:4711"}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) { return w.Forget(ctx, goldenPort, goldenSource) },
			exchange{`{"kind":"forget","seq":1,` + goldenKey + `,"source":"[::1]:4711"}`, `{"kind":"answer","seq":1,"came":true}`, true},
		},
		{
			func(w Worker) (any, error) { return nil, w.Keep(ctx, goldenPort, goldenSnapshot) },
			exchange{`{"kind":"picture","seq":1,` + goldenKey + `,"picture":{"at":7,"inodes":[3,4]}}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(w Worker) (any, error) { return w.Probe(ctx) },
			exchange{
				`{"kind":"probe","seq":1}`,
				`{"kind":"answer","seq":1,"conns":3,"requests":2,"seats":[{` + goldenKey + `,"address":"[::]:80","inode":9,"queue":1,"limit":4096}]}`,
				portgroup.Load{Connections: 3, Requests: 2, Queues: []portgroup.Queue{{Port: goldenPort, Length: 1, Limit: 4096}}},
			},
		},
	} {
		t.Run(c.request, func(t *testing.T) {
			askGolden(t, c.exchange, func(stream net.Conn) (<-chan error, any, error) {
				w, served := NewWorker(stream), make(chan error, 1)
				go func() { served <- w.Serve(&master{}) }() // ends with the stream
				got, err := c.call(w)
				return served, got, err
			})
		})
	}
}

func TestGoldenRequestsOfAWorker(t *testing.T) {
	ctx := t.Context()
	type excluded struct {
		epoch int
		later bool
	}
	for _, c := range []struct {
		call func(Master) (any, error)
		exchange
	}{
		{func(m Master) (any, error) {
			return nil, m.Hello(Hello{Ready: true, Listeners: []Listener{
				{Port: goldenPort, Address: "[::]:80", Inode: 9, Snapshot: &goldenSnapshot}, {Port: goldenPort, Address: "[::]:80"},
			}})
		}, exchange{`{"kind":"hello","ready":true,"seats":[{` + goldenKey + `,"address":"[::]:80","inode":9,"picture":{"at":7,"inodes":[3,4]}},` +
			`{` + goldenKey + `,"address":"[::]:80","inode":0}]}`, "", nil}},
		{func(m Master) (any, error) { return nil, m.Ready() }, exchange{`{"kind":"ready"}`, "", nil}},
		{func(m Master) (any, error) { return nil, m.Drained(Drained{Took: 5}) }, exchange{`{"kind":"drained","took":5}`, "", nil}},
		{
			func(m Master) (any, error) { return nil, m.Failed(ctx, "no licence") },
			exchange{`{"kind":"failed","seq":1,"error":"no licence"}`, `{"kind":"answer","seq":1}`, nil},
		},
		{
			func(m Master) (any, error) { return m.Reserve(ctx, goldenPort) },
			exchange{`{"kind":"reserve","seq":1,` + goldenKey + `}`, `{"kind":"answer","seq":1,"address":"[::]:80"}`, "[::]:80"},
		},
		{
			func(m Master) (any, error) { return nil, m.Join(ctx, goldenPort) },
			exchange{`{"kind":"join","seq":1,` + goldenKey + `}`, `{"kind":"answer","seq":1,"address":"[::]:80"}`, nil},
		},
		{func(m Master) (any, error) {
			epoch, later, err := m.Exclude(ctx, goldenPort)
			return excluded{epoch, later}, err
		}, exchange{`{"kind":"exclude","seq":1,` + goldenKey + `}`, `{"kind":"answer","seq":1,"epoch":4,"again":true}`, excluded{4, true}}},
		{
			func(m Master) (any, error) { return m.Leave(ctx, goldenPort, 4) },
			exchange{`{"kind":"leave","seq":1,` + goldenKey + `,"epoch":4}`, `{"kind":"answer","seq":1,"again":true}`, true},
		},
	} {
		t.Run(c.request, func(t *testing.T) {
			askGolden(t, c.exchange, func(stream net.Conn) (<-chan error, any, error) {
				m, served := NewMaster(stream), make(chan error, 1)
				go func() { served <- m.Serve(&worker{}, func(Stop) {}) }() // ends with the stream
				got, err := c.call(m)
				return served, got, err
			})
		})
	}
}

// asked is the last request to a goldenAgent and a goldenMaster.
type goldenAgent struct{ asked []any }

func (g *goldenAgent) note(what ...any) { g.asked = what }

func (g *goldenAgent) Open(_ context.Context, k portgroup.Key, address string) (uint32, error) {
	g.note("open", k, address)
	return 9, nil
}

func (g *goldenAgent) Shut(_ context.Context, k portgroup.Key) error { g.note("shut", k); return nil }

func (g *goldenAgent) Rejoin(_ context.Context, k portgroup.Key) error {
	g.note("rejoin", k)
	return nil
}

func (g *goldenAgent) Attach(_ context.Context, k portgroup.Key, s reuseport.Steering, until time.Duration) error {
	g.note("attach", k, s, until)
	return nil
}

func (g *goldenAgent) SetCPU(_ context.Context, k portgroup.Key, cpu int) error {
	g.note("cpu", k, cpu)
	return nil
}

func (g *goldenAgent) Help(_ context.Context, k portgroup.Key, is bool) error {
	g.note("help", k, is)
	return nil
}

func (g *goldenAgent) Expect(_ context.Context, k portgroup.Key, source netip.AddrPort) error {
	g.note("expect", k, source)
	return nil
}

func (g *goldenAgent) Await(_ context.Context, k portgroup.Key, source netip.AddrPort) (uint32, error) {
	g.note("await", k, source)
	return 0, syscall.ECONNRESET
}

func (g *goldenAgent) Forget(_ context.Context, k portgroup.Key, source netip.AddrPort) (bool, error) {
	g.note("forget", k, source)
	return true, nil
}

func (g *goldenAgent) Keep(_ context.Context, k portgroup.Key, s portgroup.Snapshot) error {
	g.note("keep", k, s)
	return nil
}

func (g *goldenAgent) Probe(context.Context) (portgroup.Load, error) {
	g.note("probe")
	return portgroup.Load{Connections: 3, Queues: []portgroup.Queue{{Port: goldenPort, Length: 1, Limit: 2}}}, nil
}

type goldenMaster struct{ goldenAgent }

func (g *goldenMaster) Hello(h Hello)        { g.note("hello", h) }
func (g *goldenMaster) Ready()               { g.note("ready") }
func (g *goldenMaster) Drained(d Drained)    { g.note("drained", d) }
func (g *goldenMaster) Failed(reason string) { g.note("failed", reason) }
func (g *goldenMaster) Reserve(_ context.Context, k portgroup.Key) (string, error) {
	g.note("reserve", k)
	return "[::]:80", nil
}

func (g *goldenMaster) Join(_ context.Context, k portgroup.Key) error {
	g.note("join", k)
	return errors.New("no")
}

func (g *goldenMaster) Exclude(_ context.Context, k portgroup.Key) (int, bool, error) {
	g.note("exclude", k)
	return 4, true, nil
}

func (g *goldenMaster) Leave(_ context.Context, k portgroup.Key, epoch int) (bool, error) {
	g.note("leave", k, epoch)
	return true, nil
}

// TestGoldenAnswers sends what a node of the first version sends, which leaves out each field that is zero.
func TestGoldenAnswers(t *testing.T) {
	for _, c := range []struct {
		request string
		asked   []any
		answer  string
	}{
		{`{"kind":"open","seq":1,` + goldenKey + `,"address":"[::]:80"}`, []any{"open", goldenPort, "[::]:80"}, `{"kind":"answer","seq":1,"inode":9}`},
		{`{"kind":"shut","seq":1,` + goldenKey + `}`, []any{"shut", goldenPort}, `{"kind":"answer","seq":1}`},
		{`{"kind":"move","seq":1,` + goldenKey + `}`, []any{"rejoin", goldenPort}, `{"kind":"answer","seq":1}`},
		{
			`{"kind":"attach","seq":1,` + goldenKey + `,"steering":{"weights":[0,1],"mark":{"port":4711,"index":1}},"until":5}`,
			[]any{"attach", goldenPort, goldenSteering, time.Duration(5)},
			`{"kind":"answer","seq":1}`,
		},
		{`{"kind":"attach","seq":1,` + goldenKey + `}`, nil, `{"kind":"answer","seq":1,"error":"the request has no steering"}`},
		{`{"kind":"cpu","seq":1,` + goldenKey + `}`, []any{"cpu", goldenPort, 0}, `{"kind":"answer","seq":1}`},
		{`{"kind":"cpu","seq":1,` + goldenKey + `,"cpu":-1}`, []any{"cpu", goldenPort, -1}, `{"kind":"answer","seq":1}`},
		{`{"kind":"help","seq":1,` + goldenKey + `,"help":false}`, []any{"help", goldenPort, false}, `{"kind":"answer","seq":1}`},
		{`{"kind":"expect","seq":1,` + goldenKey + `,"source":"[::1]:4711"}`, []any{"expect", goldenPort, goldenSource}, `{"kind":"answer","seq":1}`},
		{
			`{"kind":"await","seq":1,` + goldenKey + `,"source":"[::1]:4711"}`,
			[]any{"await", goldenPort, goldenSource},
			`{"kind":"answer","seq":1,"error":"connection reset by peer","errno":104}`,
		},
		{`{"kind":"forget","seq":1,` + goldenKey + `,"source":"[::1]:4711"}`, []any{"forget", goldenPort, goldenSource}, `{"kind":"answer","seq":1,"came":true}`},
		{`{"kind":"picture","seq":1,` + goldenKey + `,"picture":{"at":7,"inodes":[3,4]}}`, []any{"keep", goldenPort, goldenSnapshot}, `{"kind":"answer","seq":1}`},
		{`{"kind":"probe","seq":1}`, []any{"probe"}, `{"kind":"answer","seq":1,"conns":3,"seats":[{` + goldenKey + `,"queue":1,"limit":2}]}`},
		{`{"kind":"probe","seq":1,` + goldenKey + `}`, []any{"probe"}, `{"kind":"answer","seq":1,"conns":3,"seats":[{` + goldenKey + `,"queue":1,"limit":2}]}`},

		{`{"kind":"failed","seq":1,"error":"no licence"}`, []any{"failed", "no licence"}, `{"kind":"answer","seq":1}`},
		{`{"kind":"reserve","seq":1,` + goldenKey + `}`, []any{"reserve", goldenPort}, `{"kind":"answer","seq":1,"address":"[::]:80"}`},
		{`{"kind":"join","seq":1,` + goldenKey + `}`, []any{"join", goldenPort}, `{"kind":"answer","seq":1,"error":"no"}`},
		{`{"kind":"exclude","seq":1,` + goldenKey + `}`, []any{"exclude", goldenPort}, `{"kind":"answer","seq":1,"epoch":4,"again":true}`},
		{`{"kind":"leave","seq":1,` + goldenKey + `}`, []any{"leave", goldenPort, 0}, `{"kind":"answer","seq":1,"again":true}`},

		{`{"kind":"hello","seats":[{` + goldenKey + `,"address":"[::]:80","inode":9,"picture":{"at":7}}]}`, []any{"hello", Hello{Listeners: []Listener{
			{Port: goldenPort, Address: "[::]:80", Inode: 9, Snapshot: &portgroup.Snapshot{At: 7}},
		}}}, ""},
		{`{"kind":"ready"}`, []any{"ready"}, ""},
		{`{"kind":"drained","took":5}`, []any{"drained", Drained{Took: 5}}, ""},
		{`{"kind":"stop","timeout":5}`, []any{Stop{Timeout: 5}}, ""},
	} {
		t.Run(c.request, func(t *testing.T) {
			a, b := net.Pipe()
			agent, boss := new(goldenAgent), new(goldenMaster)
			served := make(chan error, 1)
			var stopped []any
			// Neither knows what is the other's to answer.
			isMasters := c.asked == nil || len(c.asked) > 0 && (c.asked[0] == Stop{Timeout: 5})
			switch {
			case isMasters:
			default:
				switch c.asked[0] {
				case "failed", "reserve", "join", "exclude", "leave", "hello", "ready", "drained":
					go func() { served <- NewWorker(b).Serve(boss) }() // ends with the stream
				default:
					isMasters = true
				}
			}
			if isMasters {
				go func() { served <- NewMaster(b).Serve(agent, func(s Stop) { stopped = []any{s} }) }() // ends with the stream
			}
			near := framing.New(a, framing.Options{})
			require.NoError(t, near.SendMessage(t.Context(), framing.Message{Type: framing.Text, Data: []byte(c.request)}))
			if c.answer != "" {
				m, err := near.Receive(t.Context())
				require.NoError(t, err)
				assert.JSONEq(t, c.answer, string(m.Data))
			}
			require.NoError(t, near.Close(framing.CodeNormal, ""))
			require.NoError(t, <-served)
			asked := agent.asked
			if !isMasters {
				asked = boss.asked
			}
			if stopped != nil {
				asked = stopped
			}
			assert.Equal(t, c.asked, asked)
		})
	}
}
