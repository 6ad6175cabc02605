package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// The test binary is also the program.
const programVariable = "CHAT_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(leaktest.Run(m))
}

// patience bounds every wait for an event.
const patience = await.Limit

// program is the program that runs.
type program struct {
	cmd  *exec.Cmd
	line string // that it printed when all were ready
	addr string
	wait func(t *testing.T) (code int)
}

// start runs the program until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	p := &program{cmd: exec.CommandContext(ctx, os.Args[0], append(args, "-addr", "127.0.0.1:0", "-dir", t.TempDir()+"/dir")...)}
	var stderr bytes.Buffer
	p.cmd.Env = append(os.Environ(), programVariable+"=1", "GORACE=atexit_sleep_ms=0")
	p.cmd.Stderr = &stderr
	p.cmd.WaitDelay = patience
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-ended
		cancel()
		assert.NotContains(t, stderr.String(), "DATA RACE")
		if t.Failed() {
			t.Logf("standard error:\n%s", stderr.String())
		}
	})
	in := bufio.NewReader(out)
	p.line, err = in.ReadString('\n')
	go func() { // ends with the program, for which Cleanup waits
		_, _ = io.Copy(io.Discard, in)
		_ = p.cmd.Wait()
		close(ended)
	}()
	require.NoError(t, err, "the program has ended")
	p.wait = func(t *testing.T) int {
		t.Helper()
		<-ended
		return p.cmd.ProcessState.ExitCode()
	}
	p.addr = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(p.line)
	return p
}

// get asks on a new connection.
func (p *program) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	response, body, err := p.ask(path)
	require.NoError(t, err)
	return response, body
}

func (p *program) ask(path string) (*http.Response, string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.addr+path, nil)
	if err != nil {
		return nil, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func TestPage(t *testing.T) {
	p := start(t, "-nodes", "1")
	assert.Regexp(t, `^1 nodes ready: open http://127\.0\.0\.1:\d+/ in two windows \(master pid \d+\)\n$`, p.line)

	response, body := p.get(t, "/")
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
	assert.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	assert.Contains(t, body, "This page came from node "+response.Header.Get("X-Node-Id")+".")
	assert.NotRegexp(t, `(?i)\son[a-z]+=|style=|<script>|<style>`, body, "what the policy would not let through")

	for _, at := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(body, -1) {
		response, _ := p.get(t, at[1])
		assert.Equal(t, http.StatusOK, response.StatusCode, at[1])
		assert.NotEmpty(t, response.Header.Get("ETag"), at[1])
	}
	for _, path := range []string{"/page/index.html", "/page/nothing.js", "/nothing", "/page/"} {
		response, _ := p.get(t, path)
		assert.Equal(t, http.StatusNotFound, response.StatusCode, path)
	}
}

func TestNode(t *testing.T) {
	p := start(t, "-nodes", "1")
	_, body := p.get(t, "/node")
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
		cmd := exec.CommandContext(t.Context(), os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), programVariable+"=1")
		out, _ := cmd.CombinedOutput()
		assert.Contains(t, string(out), c.want, c.args)
		assert.Equal(t, c.code, cmd.ProcessState.ExitCode(), c.args)
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
