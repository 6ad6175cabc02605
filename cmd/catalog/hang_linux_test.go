package main

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/proctest"
)

const (
	lease   = 2 * time.Second // of a node that tells changes by messages
	briefly = "700ms"         // is shorter, also when a part of it is over
)

// pinned is a client whose requests go all to one node.
type pinned struct {
	t       *testing.T
	program *program
	client  *http.Client
	node    string      // that has its connection
	worker  *os.Process // its process
}

func (p *program) pin(t *testing.T) *pinned {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
	t.Cleanup(client.CloseIdleConnections)
	c := &pinned{t: t, program: p, client: client}
	a := c.ask(http.MethodGet, "")
	c.node = a.header.Get("Node")
	pid, err := strconv.Atoi(a.header.Get("Worker"))
	require.NoError(t, err)
	c.worker, err = os.FindProcess(pid)
	require.NoError(t, err)
	return c
}

// ask is for the product 7.
func (c *pinned) ask(method, body string) answer {
	c.t.Helper()
	a, err := c.program.ask(c.client, method, "/products/7", body)
	require.NoError(c.t, err)
	return a
}

// pinEach returns clients of so many nodes.
func (p *program) pinEach(t *testing.T, count int) (clients []*pinned) {
	t.Helper()
	require.Eventually(t, func() bool {
		c := p.pin(t)
		if !slices.ContainsFunc(clients, func(o *pinned) bool { return o.node == c.node }) {
			clients = append(clients, c)
		}
		return len(clients) == count
	}, patience, time.Millisecond)
	return clients
}

func (c *pinned) read() answer {
	c.t.Helper()
	a := c.ask(http.MethodGet, "")
	require.Equal(c.t, http.StatusOK, a.status, a.body)
	return a
}

// serves waits until the node answers from its cache. If it has a lease, that runs then, and the others wait for it.
func (c *pinned) serves() {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return c.read().header.Get("Source") == "cache" }, patience, time.Millisecond)
}

// stop makes the node hang.
func (c *pinned) stop() {
	c.t.Helper()
	require.NoError(c.t, c.worker.Signal(syscall.SIGSTOP))
	c.t.Cleanup(func() { _ = c.worker.Signal(syscall.SIGCONT) }) // so that it can end
	require.Eventually(c.t, func() bool { return proctest.IsStopped(c.worker.Pid) }, patience, time.Millisecond)
}

func (c *pinned) goOn() {
	c.t.Helper()
	require.NoError(c.t, c.worker.Signal(syscall.SIGCONT))
}

// A node that hangs delays no other node, leaves their caches on, and serves nothing old when it continues.
func TestPutWhileANodeHangs(t *testing.T) {
	p := start(t, "-nodes", "3", "-write-timeout", "1m") // for the slowest machine: nothing is waited for so long
	nodes := p.pinEach(t, 3)
	for _, c := range nodes {
		c.serves()
	}
	hung, others := nodes[0], nodes[1:]
	version := hung.read().product(t).Version
	hung.stop()
	for _, c := range others {
		a := c.ask(http.MethodPut, sieve(version))
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Empty(t, a.header.Get("Unconfirmed"))
		version++
	}
	for _, c := range others {
		c.serves()
	}
	for end := time.Now().Add(lease); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // with a lease, it would be over
		for _, c := range others {
			a := c.read()
			require.Equal(t, version, a.product(t).Version)
			require.Equal(t, "cache", a.header.Get("Source"))
		}
	}
	require.True(t, proctest.IsStopped(hung.worker.Pid))
	hung.goOn()
	assert.Equal(t, version, hung.read().product(t).Version)
	hung.serves()
}

// By messages, nothing is changed while a node hangs that may have the old product, and the answer says so.
func TestPutByMessagesWhileANodeHangs(t *testing.T) {
	p := start(t, "-nodes", "2", "-messages", "-write-timeout", briefly)
	nodes := p.pinEach(t, 2)
	writer, other := nodes[0], nodes[1]
	end := time.Now().Add(patience)
	a, version := putWhileStopped(t, writer, other)
	for a.status == http.StatusOK { // its lease was over soon, as others have the CPUs
		require.True(t, time.Now().Before(end), a.body)
		a, version = putWhileStopped(t, writer, other)
	}
	assert.Equal(t, http.StatusServiceUnavailable, a.status, a.body)
	assert.Equal(t, "1", a.header.Get("Retry-After"))
	assert.Contains(t, a.body, "nothing was changed, ask again")
	assert.Contains(t, a.body, "node "+other.node+" has not confirmed")
	for _, c := range nodes {
		assert.Equal(t, version, c.read().product(t).Version)
	}
	require.Eventually(t, func() bool { return writer.ask(http.MethodPut, sieve(version)).status == http.StatusOK }, patience, time.Millisecond)
	assert.Equal(t, version+1, other.read().product(t).Version)
}

// putWhileStopped returns the answer to a change of a version while the other node is stopped.
func putWhileStopped(t *testing.T, writer, other *pinned) (a answer, version int64) {
	t.Helper()
	writer.serves()
	other.serves()
	version = writer.read().product(t).Version
	other.stop()
	a = writer.ask(http.MethodPut, sieve(version))
	other.goOn()
	return a, version
}

// A node that hangs when the product is stored already cannot confirm: the answer names it.
func TestPutByMessagesThatIsNotConfirmed(t *testing.T) {
	db := t.TempDir() + "/shop.db"
	p := start(t, "-nodes", "2", "-messages", "-db", db, "-write-timeout", briefly)
	s, err := openStore(t.Context(), db)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.close()) }()
	nodes := p.pinEach(t, 2)
	writer, other := nodes[0], nodes[1]
	end := time.Now().Add(patience)
	a, version := stopInAPut(t, s, writer, other)
	for a.header.Get("Unconfirmed") == "" { // its time was over before, as others have the CPUs
		require.True(t, time.Now().Before(end), "%d %s", a.status, a.body)
		a, version = stopInAPut(t, s, writer, other)
	}
	assert.Equal(t, http.StatusOK, a.status, a.body)
	assert.Contains(t, a.header.Get("Unconfirmed"), "node "+other.node+" has not confirmed")
	assert.Equal(t, version+1, a.product(t).Version, "it is stored")
	assert.Equal(t, version+1, other.read().product(t).Version, "its lease is over, or it has heard")
}

// stopInAPut returns the answer to a change of a version. While the database is locked, the other node hears that the product
// is being changed, and is stopped; it continues after the answer.
func stopInAPut(t *testing.T, s *store, writer, other *pinned) (a answer, version int64) {
	t.Helper()
	writer.serves()
	other.serves()
	version = writer.read().product(t).Version
	lock, err := s.writes.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	answered := make(chan answer)
	go func() { // ends with the time-out of the PUT
		a, err := writer.program.ask(writer.client, http.MethodPut, "/products/7", sieve(version))
		assert.NoError(t, err)
		answered <- a
	}()
	limit := time.Now().Add(time.Second) // by then the time of the PUT is over
	for other.read().header.Get("Source") == "cache" && time.Now().Before(limit) {
		time.Sleep(time.Millisecond)
	}
	other.stop()
	require.NoError(t, lock.Rollback())
	a = <-answered
	other.goOn()
	return a, version
}
