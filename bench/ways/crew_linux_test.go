package ways

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crews are the ways whose workers get their connections through a master.
var crews = []string{roundRobin, leastConnections, proxied, inherited}

// fetch makes a request on a connection of its own, in any goroutine.
func fetch(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if content, err := io.ReadAll(response.Body); err != nil || string(content) != body {
		return fmt.Errorf("%q: %w", content, err)
	}
	return nil
}

func TestCrewLosesNothingDuringRestart(t *testing.T) {
	const connections, clients = 2000, 16
	for _, name := range crews {
		t.Run(name, func(t *testing.T) {
			s := begin(t, name)
			var left atomic.Int64
			left.Store(connections)
			var failures sync.Map
			var load sync.WaitGroup
			for range clients {
				load.Go(func() {
					for left.Add(-1) >= 0 {
						if err := fetch(t.Context(), s.Addr()); err != nil {
							failures.Store(err.Error(), true)
						}
					}
				})
			}
			restarts := 0
			for ; left.Load() > connections/10; restarts++ {
				require.NoError(t, s.Restart(t.Context()))
			}
			load.Wait()
			assert.Positive(t, restarts)
			failures.Range(func(failure, _ any) bool { return assert.Fail(t, failure.(string)) })
		})
	}
}

func TestCrewReplacesKilledWorker(t *testing.T) {
	for _, name := range crews {
		t.Run(name, func(t *testing.T) {
			s := begin(t, name)
			old := s.Workers()
			require.NoError(t, syscall.Kill(old[0], syscall.SIGKILL))
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			require.NoError(t, s.awaitWorkers(ctx, old[:1]))
			assert.Contains(t, s.Workers(), old[1])
			hold(t, s)
		})
	}
}

func TestKilledMasterLeavesNothing(t *testing.T) {
	for _, name := range append(crews, "multinode") {
		t.Run(name, func(t *testing.T) {
			s := begin(t, name) // and ends it
			require.NoError(t, syscall.Kill(s.main(), syscall.SIGKILL))
			<-s.process.Load().Ended()
		})
	}
}

// spread says how many of n new connections, which stay open, each worker has.
func spread(t *testing.T, s *Server, n int) map[int][]*client {
	t.Helper()
	of := make(map[int][]*client)
	for range n {
		c := dial(t, s)
		worker := c.get("/")
		of[worker] = append(of[worker], c)
	}
	return of
}

// unbalance makes one worker idle, while the other has half of the connections, and returns both.
func unbalance(t *testing.T, s *Server) (idle, busy int) {
	t.Helper()
	of := spread(t, s, 20)
	workers := s.Workers()
	for _, worker := range workers {
		assert.Len(t, of[worker], 10, "they have as many each")
	}
	for _, c := range of[workers[0]] {
		c.get("/", "Connection: close")
		_, err := c.in.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	}
	return workers[0], workers[1]
}

func TestLeastConnections(t *testing.T) {
	s := begin(t, leastConnections)
	idle, busy := unbalance(t, s)
	of := spread(t, s, 10)
	assert.Len(t, of[idle], 10, "the idle one gets all until it has as many")
	of = spread(t, s, 10)
	assert.Len(t, of[idle], 5)
	assert.Len(t, of[busy], 5)
}

func TestRoundRobin(t *testing.T) {
	s := begin(t, roundRobin)
	idle, busy := unbalance(t, s)
	of := spread(t, s, 10)
	assert.Len(t, of[idle], 5, "whatever they have already")
	assert.Len(t, of[busy], 5)
}

// TestMasterAcceptSparesStoppedWorker has a worker that does not read.
func TestMasterAcceptSparesStoppedWorker(t *testing.T) {
	const connections = 50
	for _, name := range []string{roundRobin, leastConnections} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, name)
			stopped := s.Workers()[0]
			brief := 20 * slowest(t, s)
			require.NoError(t, syscall.Kill(stopped, syscall.SIGSTOP))
			var clients []*client
			for range connections {
				c := dial(t, s)
				clients = append(clients, c)
				_, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
				require.NoError(t, err)
				c.await(brief)
			}
			require.NoError(t, syscall.Kill(stopped, syscall.SIGCONT))
			count := 0
			for _, c := range clients {
				if c.answer() == stopped {
					count++
				}
			}
			assert.Positive(t, count)
			assert.Less(t, count, connections/4, "without regard it would get half of them")
		})
	}
}

// slowest returns how long the slowest of some requests takes.
func slowest(t *testing.T, s *Server) (longest time.Duration) {
	t.Helper()
	for range 20 {
		begin := time.Now()
		once(t, s, "/")
		longest = max(longest, time.Since(begin))
	}
	return longest
}

// await waits for an answer, if it comes soon.
func (c *client) await(brief time.Duration) {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(brief)))
	_, _ = c.in.Peek(1) // it is read later
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(limit)))
}

func TestStopWithStoppedWorker(t *testing.T) {
	for _, name := range append(crews, "multinode", "fasthttp") {
		t.Run(name, func(t *testing.T) {
			s := begin(t, name) // and ends it
			require.NoError(t, syscall.Kill(s.Workers()[workers-1], syscall.SIGSTOP))
		})
	}
}

func TestStartFailsWithoutLeaving(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, w := range All() {
		if w.Lookup != nil && w.Lookup() != nil {
			continue
		}
		t.Run(w.Name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := w.Start(t.Context(), Config{Workers: workers, Dir: dir, Addr: l.Addr().String()})
			require.Error(t, err)
			assert.Regexp(t, "in use|EADDRINUSE", err.Error(), "it says why")
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{}, {Dir: "/", Workers: -1}} {
		_, err := c.withDefaults()
		require.Error(t, err, "%+v", c)
	}
	c, err := Config{Dir: "/", Workers: 1}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, runtime.NumCPU(), c.share())
	c, err = Config{Dir: "/", Workers: 1000}.withDefaults()
	require.NoError(t, err)
	assert.Equal(t, 1, c.share())
}

func TestLookupSaysHowToInstall(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv(nodeVariable, "")
	for _, w := range All() {
		if w.Lookup != nil {
			assert.ErrorContains(t, w.Lookup(), "apt-get install", w.Name)
		}
	}
}

func TestParseBurn(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"": 0, "x=1": 0, "burn=0": 0, "burn=250": 250 * time.Microsecond, "burn=10000000": maxBurn,
	} {
		d, err := parseBurn(query)
		require.NoError(t, err, query)
		assert.Equal(t, want, d, query)
	}
	for _, query := range []string{"burn=", "burn=x", "burn=-1", "burn=10000001", "burn=99999999999999999999"} {
		_, err := parseBurn(query)
		assert.Error(t, err, query)
	}
}
