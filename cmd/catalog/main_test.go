package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cmd/internal/demotest"
	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/peer/invalidate"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

// patience bounds every wait for an event.
const patience = await.Limit

// program is the program as it runs.
type program struct{ *demotest.Program }

// start runs the program until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	return &program{demotest.Start(t, append([]string{"-db", t.TempDir() + "/a?b%.db"}, args...)...)}
}

// answer is an answer of the program.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) product(t *testing.T) (p product) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	return p
}

// ask asks on a new connection, unless client has one.
func (p *program) ask(client *http.Client, method, path, body string) (answer, error) {
	response, text, err := p.Do(client, method, path, body)
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, response.Header, text}, nil
}

func (p *program) get(t *testing.T, path string) answer {
	t.Helper()
	a, err := p.ask(nil, http.MethodGet, path, "")
	require.NoError(t, err)
	return a
}

func (p *program) put(t *testing.T, path, body string) answer {
	t.Helper()
	a, err := p.ask(nil, http.MethodPut, path, body)
	require.NoError(t, err)
	return a
}

func TestProduct(t *testing.T) {
	p := start(t, "-nodes", "1")
	assert.Regexp(t, `^1 nodes ready: open http://127\.0\.0\.1:\d+/ \(master pid \d+\)\n$`, p.Line)
	first := p.get(t, "/products/7")
	require.Equal(t, http.StatusOK, first.status, first.body)
	assert.Equal(t, "database", first.header.Get("Source"))
	assert.Equal(t, "0.000", first.header.Get("Value-Age"))
	assert.Equal(t, "1", first.header.Get("Node"))
	pid, err := strconv.Atoi(first.header.Get("Worker"))
	require.NoError(t, err)
	process, err := os.FindProcess(pid)
	require.NoError(t, err)
	assert.NoError(t, process.Signal(syscall.Signal(0)), "the process is there")

	require.Eventually(t, func() bool { return p.get(t, "/products/7").header.Get("Source") == "cache" }, patience, time.Millisecond)
	assert.Regexp(t, `^\d+\.\d{3}$`, p.get(t, "/products/7").header.Get("Value-Age"))
	assert.Equal(t, first.body, p.get(t, "/products/7").body)

	put := p.put(t, "/products/7", `{"id":7,"name":"Sieve","price":1999,"version":1}`)
	assert.Equal(t, http.StatusOK, put.status)
	assert.Empty(t, put.header.Get("Unconfirmed"))
	assert.JSONEq(t, `{"id":7,"name":"Sieve","price":1999,"version":2}`, put.body)
	assert.Equal(t, put.body, p.get(t, "/products/7").body)

	conflict := p.put(t, "/products/7", `{"id":7,"name":"Sieve","price":1,"version":1}`)
	assert.Equal(t, http.StatusConflict, conflict.status)
	assert.JSONEq(t, `{"error":"version: is 1, and that of the product is 2; nothing was changed","field":"version",
		"current":{"id":7,"name":"Sieve","price":1999,"version":2}}`, conflict.body)
}

func TestNewProduct(t *testing.T) {
	p := start(t, "-nodes", "1")
	require.Eventually(t, func() bool { // the absence is remembered, ...
		a := p.get(t, "/products/5000")
		return assert.Equal(t, http.StatusNotFound, a.status) && a.header.Get("Source") == "cache"
	}, patience, time.Millisecond)
	const made = `{"id":5000,"name":"Kite","price":0,"version":%}`
	assert.Equal(t, http.StatusNotFound, p.put(t, "/products/5000", strings.ReplaceAll(made, "%", "3")).status)
	put := p.put(t, "/products/5000", strings.ReplaceAll(made, "%", "0"))
	assert.Equal(t, http.StatusCreated, put.status, put.body)
	assert.JSONEq(t, strings.ReplaceAll(made, "%", "1"), p.get(t, "/products/5000").body) // ... until it is made
	assert.Equal(t, http.StatusConflict, p.put(t, "/products/5000", strings.ReplaceAll(made, "%", "0")).status)
}

func TestBadRequest(t *testing.T) {
	p := start(t, "-nodes", "1")
	for body, field := range map[string]string{
		``:             "body",
		`{"id":7`:      "body",
		`[]`:           "body",
		`{} {}`:        "body",
		`{"id":7}`:     "name",
		`{"colour":1}`: "colour",
		`{"id":8,"name":"a","price":1,"version":1}`:                                 "id",
		`{"id":7,"name":" ","price":1,"version":1}`:                                 "name",
		`{"id":7,"name":5,"price":1,"version":1}`:                                   "name",
		`{"id":7,"name":"a\u0007","price":1,"version":1}`:                           "name",
		`{"id":7,"name":"` + strings.Repeat("a", 201) + `","price":1,"version":1}`:  "name",
		`{"id":7,"name":"a","price":19.99,"version":1}`:                             "price",
		`{"id":7,"name":"a","price":"1","version":1}`:                               "price",
		`{"id":7,"name":"a","price":-1,"version":1}`:                                "price",
		`{"id":7,"name":"a","price":99999999999999999999,"version":1}`:              "price",
		`{"id":7,"name":"a","price":null,"version":1}`:                              "price",
		`{"id":7,"name":"a","price":1,"version":-1}`:                                "version",
		`{"id":7,"name":"a","price":1}`:                                             "version",
		`{"id":7,"name":"a","price":1,"version":null}`:                              "version",
		`{"id":7,"name":"a","price":1,"version":"1"}`:                               "version",
		`{"id":7,"name":"a","price":1,"version":1.5}`:                               "version",
		`{"id":7,"name":"a","price":1,"version":9007199254740991}`:                  "version",
		`{"id":7,"name":"a","price":100000000001,"version":1}`:                      "price",
		`{"id":7,"name":null,"price":1,"version":1}`:                                "name",
		`{"id":"7","name":"a","price":1,"version":1}`:                               "id",
		`{"name":"a","price":1,"version":1}`:                                        "id",
		`null`:                                                                      "id",
		`{"id":7,"name":"a","price":1,"version":1}x`:                                "body",
		`{"id":7,"name":"` + strings.Repeat("a", 9000) + `","price":1,"version":1}`: "body",
	} {
		a := p.put(t, "/products/7", body)
		assert.Equal(t, http.StatusBadRequest, a.status, body)
		var e struct{ Field, Error string }
		require.NoError(t, json.Unmarshal([]byte(a.body), &e), a.body)
		if body != `{} {}` {
			assert.Equal(t, field, e.Field, body)
		}
		assert.True(t, strings.HasPrefix(e.Error, e.Field+": "), e.Error)
	}
	for _, id := range []string{"0", "-7", "x", "7.0", "9007199254740992", "9999999999999999999"} {
		assert.Equal(t, http.StatusBadRequest, p.get(t, "/products/"+id).status, id)
		a := p.put(t, "/products/"+id, sieve(1))
		assert.Equal(t, http.StatusBadRequest, a.status, id)
		assert.Contains(t, a.body, `"field":"id"`, id)
	}
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "after=-1", "after=x", "after=9007199254740992"} {
		a := p.get(t, "/products?"+query)
		assert.Equal(t, http.StatusBadRequest, a.status, query)
		field, _, _ := strings.Cut(query, "=")
		assert.Contains(t, a.body, `"field":"`+field+`"`, query)
	}
	deleted, err := p.ask(nil, http.MethodDelete, "/products/7", "")
	require.NoError(t, err)
	assert.Equal(t, http.StatusMethodNotAllowed, deleted.status)
	assert.EqualValues(t, 1, p.get(t, "/products/7").product(t).Version, "nothing was changed")
}

// A PUT that waits for the lock of the database until its time is over.
func TestPutWhileTheDatabaseIsLocked(t *testing.T) {
	db := t.TempDir() + "/shop.db"
	p := start(t, "-nodes", "1", "-db", db, "-write-timeout", "100ms")
	s, err := openStore(t.Context(), db)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.close()) }()
	lock, err := s.writes.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	a := p.put(t, "/products/7", sieve(1))
	assert.Equal(t, http.StatusGatewayTimeout, a.status, a.body)
	assert.Contains(t, a.body, "read the product")
	assert.EqualValues(t, 1, p.get(t, "/products/7").product(t).Version)
	require.NoError(t, lock.Rollback())
}

// An error tells the client whether to ask again.
func TestFail(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		retry  string
		text   string
	}{
		{&invalidate.UnconfirmedError{Err: context.DeadlineExceeded}, http.StatusServiceUnavailable, "1", "nothing was changed, ask again"},
		{fmt.Errorf("%w: why", errBusy), http.StatusServiceUnavailable, "1", "nothing was changed, ask again"},
		{fmt.Errorf("put: %w", context.DeadlineExceeded), http.StatusGatewayTimeout, "", "its version tells whether the change was made"},
		{errMissing, http.StatusNotFound, "", "PUT with version 0 makes it"},
		{wrong("price", "is missing"), http.StatusBadRequest, "", "price: is missing"},
		{errors.New("disk"), http.StatusInternalServerError, "", "disk"},
	} {
		w := httptest.NewRecorder()
		fail(w, c.err)
		assert.Equal(t, c.status, w.Code, c.err)
		assert.Equal(t, c.retry, w.Header().Get("Retry-After"), c.err)
		assert.Contains(t, w.Body.String(), c.text)
	}
}

func TestList(t *testing.T) {
	p := start(t, "-nodes", "1")
	var seen []int64
	path := "/products?limit=300"
	for path != "" {
		var list struct {
			Products []product
			Next     int64
		}
		require.NoError(t, json.Unmarshal([]byte(p.get(t, path).body), &list))
		for _, one := range list.Products {
			seen = append(seen, one.ID)
		}
		path = ""
		if list.Next > 0 {
			path = "/products?limit=300&after=" + strconv.FormatInt(list.Next, 10)
		}
	}
	require.Len(t, seen, seedProducts)
	for i, id := range seen {
		assert.EqualValues(t, i+1, id)
	}
	assert.JSONEq(t, `{"products":[]}`, p.get(t, "/products?after=1000").body)
}

func TestNoCache(t *testing.T) {
	p := start(t, "-nodes", "1", "-nocache")
	for range 10 {
		assert.Equal(t, "database", p.get(t, "/products/7").header.Get("Source"))
	}
	assert.Equal(t, http.StatusOK, p.put(t, "/products/7", `{"id":7,"name":"Sieve","price":1999,"version":1}`).status)
	assert.EqualValues(t, 1999, p.get(t, "/products/7").product(t).Price)
	assert.Equal(t, http.StatusNotFound, p.get(t, "/products/5000").status)
}

// Stored products outlive the cluster, and a second start changes none.
func TestDatabaseStays(t *testing.T) {
	db := t.TempDir() + "/shop.db"
	p := start(t, "-nodes", "3", "-db", db)
	require.Equal(t, http.StatusOK, p.put(t, "/products/7", `{"id":7,"name":"Sieve","price":1999,"version":1}`).status)
	p.Signal(t, syscall.SIGTERM)
	require.Zero(t, p.Wait(), p.Stderr())
	p = start(t, "-nodes", "3", "-db", db)
	assert.Equal(t, product{7, "Sieve", 1999, 2}, p.get(t, "/products/7").product(t))
}

func TestPage(t *testing.T) {
	p := start(t, "-nodes", "1")
	page := p.get(t, "/")
	assert.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	assert.NotRegexp(t, `(?i)\son[a-z]+=|style=|<script>|<style>`, page.body, "what the policy would not let through")
	for _, at := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
		a := p.get(t, at[1])
		assert.Equal(t, http.StatusOK, a.status, at[1])
		assert.NotEmpty(t, a.header.Get("ETag"), at[1])
	}
	assert.Equal(t, http.StatusNotFound, p.get(t, "/page/index.html").status)
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	notADatabase := dir + "/text"
	require.NoError(t, os.WriteFile(notADatabase, bytes.Repeat([]byte("text "), 1000), 0o600))
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"-h"}, "rendezvous directory", 0},
		{[]string{"-nodes", "many"}, `invalid value "many" for flag -nodes`, 2},
		{[]string{"8080"}, `unexpected argument "8080"`, 2},
		{[]string{"-db", ""}, "-db is empty", 2},
		{[]string{"-write-timeout", "0s"}, "-write-timeout is 0s; it must be positive", 2},
		{[]string{"-db", dir + "/no/such.db"}, "catalog: database " + dir + "/no/such.db: ", 1},
		{[]string{"-db", notADatabase}, "file is not a database", 1},
		{[]string{"-db", dir + "/a.db", "-nodes", "-3"}, "catalog: cluster: option Nodes is -3", 1},
	} {
		demotest.CheckUsage(t, c.args, c.want, c.code)
	}
}

func TestUsageExplainsEachFlag(t *testing.T) {
	var out bytes.Buffer
	_, err := parseFlags([]string{"-h"}, &out)
	require.Error(t, err)
	for _, word := range []string{"-addr", "-nodes", "-master-listen", "-name", "-dir", "-db", "-nocache", "-messages", "-write-timeout", ":8080", "409", "SIGTERM"} {
		assert.Contains(t, out.String(), word)
	}
}

// sieve is a new product 7 in place of a version.
func sieve(version int64) string {
	return fmt.Sprintf(`{"id":7,"name":"Sieve","price":1999,"version":%d}`, version)
}
