package main

import (
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// briefly is shorter than the lease of a node that hangs.
const briefly = "700ms"

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

// pinTwo returns clients of two nodes.
func (p *program) pinTwo(t *testing.T) (a, b *pinned) {
	t.Helper()
	a = p.pin(t)
	require.Eventually(t, func() bool {
		b = p.pin(t)
		return b.worker.Pid != a.worker.Pid
	}, patience, time.Millisecond)
	return a, b
}

// serves waits until the node answers from its cache: then its lease runs, and the others wait for it.
func (c *pinned) serves() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		return c.ask(http.MethodGet, "").header.Get("Source") == "cache"
	}, patience, time.Millisecond)
}

// While a node hangs that may have the old product, nothing is changed, and the answer says so.
func TestPutWhileANodeHangs(t *testing.T) {
	p := start(t, "-nodes", "2", "-write-timeout", briefly)
	writer, other := p.pinTwo(t)
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
	for _, c := range []*pinned{writer, other} {
		assert.Equal(t, version, c.ask(http.MethodGet, "").product(t).Version)
	}
	require.Eventually(t, func() bool { return writer.ask(http.MethodPut, sieve(version)).status == http.StatusOK }, patience, time.Millisecond)
	assert.Equal(t, version+1, other.ask(http.MethodGet, "").product(t).Version)
}

// putWhileStopped returns the answer to a change of a version while the other node is stopped.
func putWhileStopped(t *testing.T, writer, other *pinned) (a answer, version int64) {
	t.Helper()
	writer.serves()
	other.serves()
	version = writer.ask(http.MethodGet, "").product(t).Version
	require.NoError(t, other.worker.Signal(syscall.SIGSTOP))
	a = writer.ask(http.MethodPut, sieve(version))
	require.NoError(t, other.worker.Signal(syscall.SIGCONT))
	return a, version
}

// A node that hangs when the product is stored already cannot confirm: the answer names it.
func TestPutThatIsNotConfirmed(t *testing.T) {
	db := t.TempDir() + "/shop.db"
	p := start(t, "-nodes", "2", "-db", db, "-write-timeout", briefly)
	s, err := openStore(t.Context(), db)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.close()) }()
	writer, other := p.pinTwo(t)
	end := time.Now().Add(patience)
	a, version := stopInAPut(t, s, writer, other)
	for a.header.Get("Unconfirmed") == "" { // its time was over before, as others have the CPUs
		require.True(t, time.Now().Before(end), "%d %s", a.status, a.body)
		a, version = stopInAPut(t, s, writer, other)
	}
	assert.Equal(t, http.StatusOK, a.status, a.body)
	assert.Contains(t, a.header.Get("Unconfirmed"), "node "+other.node+" has not confirmed")
	assert.Equal(t, version+1, a.product(t).Version, "it is stored")
	assert.Equal(t, version+1, other.ask(http.MethodGet, "").product(t).Version, "its lease is over, or it has heard")
}

// stopInAPut returns the answer to a change of a version. While the database is locked, the other node hears that the product
// is being changed, and is stopped; it goes on after the answer.
func stopInAPut(t *testing.T, s *store, writer, other *pinned) (a answer, version int64) {
	t.Helper()
	writer.serves()
	other.serves()
	version = writer.ask(http.MethodGet, "").product(t).Version
	lock, err := s.writes.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	answered := make(chan answer)
	go func() { // ends with the time-out of the PUT
		a, err := writer.program.ask(writer.client, http.MethodPut, "/products/7", sieve(version))
		assert.NoError(t, err)
		answered <- a
	}()
	limit := time.Now().Add(time.Second) // by then the time of the PUT is over
	for other.ask(http.MethodGet, "").header.Get("Source") == "cache" && time.Now().Before(limit) {
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, other.worker.Signal(syscall.SIGSTOP))
	require.NoError(t, lock.Rollback())
	a = <-answered
	require.NoError(t, other.worker.Signal(syscall.SIGCONT))
	return a, version
}
