package ways

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) {
	child.Become(Roles())
	os.Exit(leaktest.Run(m))
}

const (
	workers = 2
	limit   = await.Limit
)

func find(t *testing.T, name string) Way {
	t.Helper()
	all := All()
	i := slices.IndexFunc(all, func(w Way) bool { return w.Name == name })
	require.GreaterOrEqual(t, i, 0)
	return all[i]
}

// begin starts a way, which is stopped with the test.
func begin(t *testing.T, name string) *Server {
	t.Helper()
	dir := t.TempDir()
	s, err := find(t, name).Start(t.Context(), Config{Workers: workers, Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { end(t, s, dir) })
	return s
}

// end stops a server, and looks for what it leaves.
func end(t *testing.T, s *Server, dir string) {
	t.Helper()
	all := s.PIDs()
	require.NoError(t, s.Stop())
	for _, pid := range all {
		_, err := proc.Stat(pid)
		require.Error(t, err, "process %d is left", pid)
	}
	assert.Empty(t, s.PIDs())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// client makes requests on one connection.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	return &client{t, conn, bufio.NewReader(conn)}
}

// get returns which worker has answered.
func (c *client) get(path string, header ...string) (worker int) {
	c.t.Helper()
	text := strings.Join(append([]string{"GET " + path + " HTTP/1.1", "Host: test"}, header...), "\r\n") + "\r\n\r\n"
	_, err := io.WriteString(c.conn, text)
	require.NoError(c.t, err)
	return c.answer()
}

// answer reads an answer, and returns whose it is.
func (c *client) answer() (worker int) {
	c.t.Helper()
	response, err := http.ReadResponse(c.in, nil)
	require.NoError(c.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	assert.Equal(c.t, http.StatusOK, response.StatusCode)
	assert.Equal(c.t, "hello\n", string(content))
	assert.EqualValues(c.t, len(content), response.ContentLength)
	worker, err = strconv.Atoi(response.Header.Get("Worker"))
	require.NoError(c.t, err)
	return worker
}

// once makes a request on a connection of its own.
func once(t *testing.T, s *Server, path string) (worker int) {
	t.Helper()
	c := dial(t, s)
	worker = c.get(path, "Connection: close")
	_, err := c.in.ReadByte()
	require.ErrorIs(t, err, io.EOF, "Connection: close is obeyed")
	require.NoError(t, c.conn.Close())
	return worker
}

// hold opens connections until all workers have answered, and asks each one again.
func hold(t *testing.T, s *Server) {
	t.Helper()
	want := s.Workers()
	slices.Sort(want)
	seen := make(map[*client]int)
	answered := func() (list []int) {
		for _, worker := range seen {
			list = append(list, worker)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	for end := time.Now().Add(limit); !slices.Equal(answered(), want); {
		require.True(t, time.Now().Before(end), "of %v only %v answer", want, answered())
		var burst []*client // or where all accept from one queue, the quickest gets them all
		for range 16 {
			burst = append(burst, dial(t, s))
		}
		for _, c := range burst {
			seen[c] = c.get("/")
		}
	}
	for c, worker := range seen {
		assert.Equal(t, worker, c.get("/"), "a connection stays with its worker")
		require.NoError(t, c.conn.Close())
	}
}

func testWay(t *testing.T, name string) {
	t.Helper()
	way := find(t, name)
	s := begin(t, name)
	count := workers
	if name == "go" {
		count = 1
	}
	require.Len(t, s.Workers(), count)
	assert.Subset(t, s.PIDs(), s.Workers())
	assert.Equal(t, way.Other, s.Version() != "", "a foreign program has a version")

	hold(t, s)
	for range 20 {
		assert.Contains(t, s.Workers(), once(t, s, "/"))
	}
	if way.Burns {
		testBurn(t, s)
	}

	old := s.Workers()
	addr := s.Addr()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	require.NoError(t, s.Restart(ctx))
	assert.Equal(t, addr, s.Addr())
	now := s.Workers()
	for _, pid := range old {
		assert.NotContains(t, now, pid, "it was replaced")
	}
	require.Len(t, now, count)
	hold(t, s)
}

// testBurn compares requests that burn with others in the same run. They take turns, so that both have as much of what the
// server does besides.
func testBurn(t *testing.T, s *Server) {
	t.Helper()
	const each, times, turns = time.Millisecond, 10, 10 // a clock that moves with the tick would show
	ask := func(burn time.Duration) time.Duration {
		before := proc.CPU(s.PIDs()...)
		for range times {
			once(t, s, fmt.Sprintf("/?burn=%d", burn.Microseconds()))
		}
		return proc.CPU(s.PIDs()...) - before
	}
	var plain, burnt time.Duration
	for range turns {
		plain += ask(0)
		burnt += ask(each)
	}
	assert.GreaterOrEqual(t, burnt, turns*times*each*95/100)
	assert.Less(t, burnt, 2*(plain+turns*times*each))
	t.Logf("%d requests take %v of CPU time, and %v if each burns %v", turns*times, plain, burnt, each)
}

func TestGo(t *testing.T)             { testWay(t, "go") }
func TestReuseport(t *testing.T)      { testWay(t, "reuseport") }
func TestMultinode(t *testing.T)      { testWay(t, "multinode") }
func TestMasterAcceptRR(t *testing.T) { testWay(t, "master-accept-rr") }
func TestMasterAcceptLC(t *testing.T) { testWay(t, "master-accept-lc") }
func TestProxy(t *testing.T)          { testWay(t, "proxy") }
func TestInherited(t *testing.T)      { testWay(t, "inherited") }
func TestFasthttp(t *testing.T)       { testWay(t, "fasthttp") }
func TestFiber(t *testing.T)          { testWay(t, "fiber") }

func testForeign(t *testing.T, name string) {
	t.Helper()
	if err := find(t, name).Lookup(); err != nil {
		t.Skip(err)
	}
	testWay(t, name)
}

func TestIntegrationNodeRR(t *testing.T)   { testForeign(t, "node-rr") }
func TestIntegrationNodeNone(t *testing.T) { testForeign(t, "node-none") }
func TestIntegrationNginx(t *testing.T)    { testForeign(t, "nginx") }
func TestIntegrationGunicorn(t *testing.T) { testForeign(t, "gunicorn") }

func TestIPv6(t *testing.T) {
	for _, w := range All() {
		if w.Lookup != nil && w.Lookup() != nil {
			continue
		}
		t.Run(w.Name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := w.Start(t.Context(), Config{Workers: workers, Dir: dir, Addr: "[::1]:0"})
			require.NoError(t, err)
			defer end(t, s, dir)
			assert.Contains(t, s.Workers(), once(t, s, "/"))
		})
	}
}
