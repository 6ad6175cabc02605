package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	hotProducts = 6 // each has one writer
	hotReaders  = 4
	hotTime     = 3 * time.Second
)

// shop is what the clients know of the products: no client may see an older version than the answer to a PUT.
type shop struct {
	t       *testing.T
	program *program
	known   [hotProducts + 1]atomic.Int64 // by id: the last version that was answered
	over    chan struct{}

	puts, unconfirmed, refused, broken, cached, reads atomic.Int64
	nodes                                             sync.Map // the workers that have answered, by pid
}

// No client sees an older version after a PUT was answered, on whatever nodes, while nodes are killed and replaced.
func TestReadYourWrites(t *testing.T) {
	s := readYourWrites(t)
	assert.Zero(t, s.unconfirmed.Load(), "there is nothing to confirm")
	assert.Zero(t, s.refused.Load())
}

func TestReadYourWritesByMessages(t *testing.T) { readYourWrites(t, "-messages") }

func readYourWrites(t *testing.T, args ...string) *shop {
	t.Helper()
	s := &shop{t: t, program: start(t, append(args, "-nodes", "4")...), over: make(chan struct{})}
	var clients sync.WaitGroup
	stop := sync.OnceFunc(func() {
		close(s.over)
		clients.Wait()
	})
	defer stop()
	for id := range int64(hotProducts) {
		clients.Go(func() { s.write(id + 1) })
	}
	for range hotReaders {
		clients.Go(func() {
			for !s.isOver() {
				s.read(rand.Int64N(hotProducts) + 1)
			}
		})
	}
	end := time.After(hotTime)
	for i := range 3 {
		s.awaitPuts(20)
		s.kill()
		if i == 1 {
			s.program.Signal(t, syscall.SIGHUP) // the reload runs while they work
		}
	}
	s.awaitPuts(20)
	<-end
	stop()

	workers := 0
	s.nodes.Range(func(any, any) bool { workers++; return true })
	t.Logf("%d puts (%d unconfirmed, %d refused, %d broken connections), %d reads (%d from a cache), %d workers",
		s.puts.Load(), s.unconfirmed.Load(), s.refused.Load(), s.broken.Load(), s.reads.Load(), s.cached.Load(), workers)
	assert.Greater(t, workers, 4, "nodes were replaced")
	assert.Positive(t, s.cached.Load())
	return s
}

func (s *shop) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// write changes a product again and again on one connection, and reads it on new ones.
func (s *shop) write(id int64) {
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for !s.isOver() {
		p, ok := s.read(id)
		if !ok {
			continue
		}
		body, _ := json.Marshal(product{id, p.Name, p.Price + 1, p.Version})
		a, err := s.program.ask(client, http.MethodPut, fmt.Sprintf("/products/%d", id), string(body))
		switch {
		case err != nil: // its node was killed: it is stored or not
			s.broken.Add(1)
			continue
		case a.status == http.StatusServiceUnavailable:
			s.refused.Add(1)
			continue
		case a.status == http.StatusConflict && s.unconfirmed.Load() > 0: // then an old version may be read
			continue
		case !assert.Equal(s.t, http.StatusOK, a.status, "the only writer has the last version: %s", a.body):
			return
		}
		s.puts.Add(1)
		if a.header.Get("Unconfirmed") != "" {
			s.unconfirmed.Add(1)
			continue
		}
		s.known[id].Store(p.Version + 1)
		for range 4 {
			s.read(id)
		}
	}
}

// read reads a product on a new connection, and compares it with what was known before.
func (s *shop) read(id int64) (p product, ok bool) {
	known := s.known[id].Load()
	a, err := s.program.ask(nil, http.MethodGet, fmt.Sprintf("/products/%d", id), "")
	if err != nil {
		return p, false // its node was killed
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK {
		s.t.Errorf("product %d: %d %s %v", id, a.status, a.body, err)
		return p, false
	}
	s.reads.Add(1)
	if a.header.Get("Source") == "cache" {
		s.cached.Add(1)
	}
	s.nodes.Store(a.header.Get("Worker"), nil)
	if p.Version < known {
		s.t.Errorf("stale: product %d has version %d on node %s (%s, %s s old), and a PUT of %d was answered before",
			id, p.Version, a.header.Get("Node"), a.header.Get("Source"), a.header.Get("Value-Age"), known)
	}
	return p, true
}

func (s *shop) awaitPuts(more int64) {
	s.t.Helper()
	from := s.puts.Load()
	require.Eventually(s.t, func() bool { return s.puts.Load() >= from+more }, patience, time.Millisecond)
}

// kill kills the worker that answers next. It may be gone when it is tried: then the next one.
func (s *shop) kill() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		a, err := s.program.ask(nil, http.MethodGet, "/products/1", "")
		if err != nil {
			return false
		}
		pid, err := strconv.Atoi(a.header.Get("Worker"))
		require.NoError(s.t, err)
		process, err := os.FindProcess(pid)
		return err == nil && process.Kill() == nil
	}, patience, time.Millisecond)
}
