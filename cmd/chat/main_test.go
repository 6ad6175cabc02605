package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cmd/internal/demotest"
	"github.com/multinode-go/multinode/internal/await"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

// patience bounds every wait for an event.
const patience = await.Limit

func TestPage(t *testing.T) {
	p := demotest.Start(t, "-nodes", "1")
	assert.Regexp(t, `^1 nodes ready: open http://127\.0\.0\.1:\d+/ in two windows \(master pid \d+\)\n$`, p.Line)

	response, body := p.Get(t, "/")
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
	assert.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	assert.Contains(t, body, "This page came from node "+response.Header.Get("X-Node-Id")+".")
	assert.NotRegexp(t, `(?i)\son[a-z]+=|style=|<script>|<style>`, body, "what the policy would not let through")

	for _, at := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(body, -1) {
		response, _ := p.Get(t, at[1])
		assert.Equal(t, http.StatusOK, response.StatusCode, at[1])
		assert.NotEmpty(t, response.Header.Get("ETag"), at[1])
	}
	for _, path := range []string{"/page/index.html", "/page/nothing.js", "/nothing", "/page/"} {
		response, _ := p.Get(t, path)
		assert.Equal(t, http.StatusNotFound, response.StatusCode, path)
	}
}

func TestNode(t *testing.T) {
	p := demotest.Start(t, "-nodes", "1")
	_, body := p.Get(t, "/node")
	var node struct{ Node, PID int }
	require.NoError(t, json.Unmarshal([]byte(body), &node))
	assert.Equal(t, 1, node.Node)
	process, err := os.FindProcess(node.PID)
	require.NoError(t, err)
	assert.NoError(t, process.Signal(syscall.Signal(0)), "the process is there")
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"-h"}, "rendezvous directory", 0},
		{[]string{"-nodes", "many"}, `invalid value "many" for flag -nodes`, 2},
		{[]string{"8080"}, `unexpected argument "8080"`, 2},
		{[]string{"-history", "0"}, "-history is 0", 2},
		{[]string{"-nodes", "-3"}, "chat: cluster: option Nodes is -3", 1},
		{[]string{"-addr", "nowhere"}, "chat: cluster: ", 1},
	} {
		demotest.CheckUsage(t, c.args, c.want, c.code)
	}
}

func TestUsageExplainsEachFlag(t *testing.T) {
	var out bytes.Buffer
	_, _, err := parseFlags([]string{"-h"}, &out)
	require.Error(t, err)
	for _, word := range []string{"-addr", "-nodes", "-master-listen", "-name", "-dir", "-history", ":8080", "/node", "kill -9", "SIGTERM"} {
		assert.Contains(t, out.String(), word)
	}
}
