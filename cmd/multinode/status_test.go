package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

func TestStatusForPeople(t *testing.T) {
	var out bytes.Buffer
	writeStatus(&out, painter{}, fakeStatus("web"), begin.Add(2*time.Hour+3*time.Minute))
	assert.Equal(t, `web at 127.0.0.1:8080: 2 nodes, master pid 4711, up 2h3m
2 of 3 nodes accept connections

SLOT  ID  GEN   PID  STATE           SINCE  RESTARTS  CONNS  REQS      QUEUE  WEIGHT  LAST EXIT
   0   0    1  4711  ready (master)   2h3m         0     12     3     0/4096     33%
   1   3    2  4713  ready            1h3m         1   1500     0  4000/4096     67%  exit code 1
   2   2    9     -  crash-looping    3m0s         8      -     -          -       -  killed

steering: cbpf
  A reload loses nothing.
  better: a crash loses less
    sysctl -w net.ipv4.tcp_migrate_req=1
stranger: process 99 (nc), which is no node, listens on 127.0.0.1:8080: kill 99, unless you want it
`, out.String())
}

func TestStatusInColour(t *testing.T) {
	var plain, coloured bytes.Buffer
	s := fakeStatus("web")
	s.Doing = "reload"
	writeStatus(&plain, painter{}, s, begin)
	writeStatus(&coloured, painter{on: true}, s, begin)
	text := coloured.String()
	for _, colour := range []string{bold, faint, red, green, yellow} {
		assert.Contains(t, text, "\x1b["+colour+"m")
		text = strings.ReplaceAll(text, "\x1b["+colour+"m", "")
	}
	assert.Equal(t, plain.String(), strings.ReplaceAll(text, "\x1b[0m", ""), "colours change no column")
	assert.Contains(t, text, "busy with: reload")
}

func TestStatusJSON(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	_, stdout, _ := runs(t, place, "status", "--json")
	var got control.Status
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	assert.Equal(t, f.status, got)
}

func TestStatusOfAnotherVersion(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	f.mu.Lock()
	f.status.Version = 2
	f.mu.Unlock()
	code, _, stderr := runs(t, place, "status")
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stderr, "cluster web: the master speaks version 2 of the status, and this program 1")
}

func TestMasterWithoutAPI(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	for header, want := range map[string]string{
		"":  "it is starting",
		"7": "speaks version 7 of the control API, and this program 1",
	} {
		f.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Multinode-API", header)
			http.NotFound(w, r)
		})
		code, _, stderr := runs(t, place, "status")
		assert.Equal(t, codeFailed, code)
		assert.Contains(t, stderr, want)
	}
}

// TestMasterThatStartsAndIsSilent: the error is that of its last answer.
func TestMasterThatStartsAndIsSilent(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	asked := false
	f.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked {
			<-r.Context().Done()
		}
		asked = true
		http.NotFound(w, r)
	})
	code, _, stderr := runs(t, place, "status")
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stderr, "it is starting")
}

// TestMasterThatIsLate: it is not the version of a program when a master does not answer at once.
func TestMasterThatIsLate(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	api := f.server.Handler
	asked := 0
	f.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked <= 3 {
			http.NotFound(w, r) // as the mesh of a node that has no control API yet
			return
		}
		api.ServeHTTP(w, r)
	})
	code, stdout, stderr := runs(t, place, "status")
	assert.Equal(t, codeDone, code, stderr)
	assert.Contains(t, stdout, "web at")

	f.server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	code, _, stderr = runs(t, place, "status")
	assert.Equal(t, codeTimeout, code)
	assert.Contains(t, stderr, "has not answered for")
	assert.NotContains(t, stderr, "version")
	assert.NotContains(t, stderr, "built with")
}

func TestStatusWatch(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "status", "-w")
	c.awaitOutput(t, "LAST EXIT")
	f.stop()
	c.awaitOutput(t, "cluster web is not running") // and it may come back
	c.interrupt()
	assert.Equal(t, codeDone, c.wait(t))
	assert.Empty(t, c.stderr.String())
	assert.NotContains(t, c.stdout.String(), "\x1b")

	code, _, _ := runs(t, place, "status", "-w", "web")
	assert.Equal(t, codeNotRunning, code, "there is nothing to watch")
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", -time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m1s", 3*time.Hour + 4*time.Minute: "3h4m",
		50 * time.Hour: "2d2h",
	} {
		assert.Equal(t, want, age(begin, begin.Add(d)))
	}
	assert.Equal(t, "-", age(time.Time{}, begin))
	for d, want := range map[time.Duration]string{
		41*time.Millisecond + 300*time.Microsecond: "41ms", 400 * time.Microsecond: "0s", 1234 * time.Millisecond: "1.234s",
		83 * time.Second: "1m23s",
	} {
		assert.Equal(t, want, took(d))
	}
}
