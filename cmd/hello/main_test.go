package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cmd/internal/demotest"
	"github.com/multinode-go/multinode/internal/await"
)

func TestMain(m *testing.M) { demotest.Main(m, main) }

// patience bounds every wait for an event.
const patience = await.Limit

var greeting = regexp.MustCompile(`^hello from node (\d+) \(slot (\d+), pid (\d+)\)\n$`)

// TestSuccessorTellsHowManyThereAre: a successor has the nodes that there are, and not those that were asked for at the start.
func TestSuccessorTellsHowManyThereAre(t *testing.T) {
	h := demotest.Start(t, "-nodes", "2")
	client := control.NewClient(h.Dir)
	require.NoError(t, client.Scale(t.Context(), 3, control.Wait))
	require.NoError(t, client.Takeover(t.Context(), control.Wait))
	line := <-h.Lines
	require.Regexp(t, `^3 nodes ready on http://127\.0\.0\.1:\d+ \(master pid \d+\)\n$`, line)
	pid, err := strconv.Atoi(regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(line)[1])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	_, open := <-h.Lines
	assert.False(t, open, "all have ended")
}

func TestFourNodesAnswer(t *testing.T) {
	h := demotest.Start(t, "-nodes", "4")
	assert.Regexp(t, `^4 nodes ready on http://127\.0\.0\.1:\d+ \(master pid \d+\)\n$`, h.Line)
	answers := make(map[string]int)
	for range 400 {
		response, body := h.Get(t, "/")
		words := greeting.FindStringSubmatch(body)
		require.NotNil(t, words, body)
		assert.Equal(t, words[1], response.Header.Get("X-Node-Id"))
		assert.Equal(t, words[2], response.Header.Get("X-Node-Slot"))
		assert.Equal(t, "1", response.Header.Get("X-Node-Generation"))
		answers[words[3]]++
	}
	assert.Len(t, answers, 4)
	for pid, n := range answers {
		assert.LessOrEqual(t, n, 180, "pid %s has more than 45 %%", pid)
	}
}

func TestTheMasterOnlySupervises(t *testing.T) {
	h := demotest.Start(t, "-nodes", "2")
	for range 50 {
		_, body := h.Get(t, "/")
		assert.NotContains(t, body, "slot 0")
	}
}

func TestMasterListen(t *testing.T) {
	h := demotest.Start(t, "-nodes", "1", "-master-listen")
	_, body := h.Get(t, "/")
	assert.Contains(t, body, "slot 0")
}

func TestAnyMethod(t *testing.T) {
	h := demotest.Start(t, "-nodes", "1")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		_, body, err := h.Do(nil, method, "/", "")
		require.NoError(t, err)
		assert.Regexp(t, greeting, body)
	}
	response, _ := h.Get(t, "/nowhere")
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}

func TestSleepAndBurn(t *testing.T) {
	h := demotest.Start(t, "-nodes", "1")
	for _, path := range []string{"/sleep", "/burn"} {
		begin := time.Now()
		_, body := h.Get(t, path+"?d=100ms")
		assert.Regexp(t, greeting, body)
		assert.GreaterOrEqual(t, time.Since(begin), 100*time.Millisecond)
		for _, d := range []string{"", "soon", "-1s", "2h", "5"} {
			response, body := h.Get(t, path+"?d="+d)
			assert.Equal(t, http.StatusBadRequest, response.StatusCode)
			assert.Equal(t, fmt.Sprintf("d=%q: want a duration from 0s to 1m0s, as in %s?d=100ms\n", d, path), body)
		}
	}
}

func TestCrashIsReplaced(t *testing.T) {
	h := demotest.Start(t, "-nodes", "2")
	_, _, err := h.Do(nil, http.MethodGet, "/crash", "")
	require.Error(t, err, "the process has ended")
	assert.Eventually(t, func() bool {
		response, _, err := h.Do(nil, http.MethodGet, "/", "")
		return err == nil && response.Header.Get("X-Node-Generation") == "2"
	}, patience, time.Millisecond)
	events, err := control.NewClient(h.Dir).Events(t.Context(), 0)
	require.NoError(t, err)
	defer events.Close()
	for e := (control.Event{}); e.Kind != control.EventDied; {
		e, err = events.Next()
		require.NoError(t, err)
		assert.Equal(t, e.Kind == control.EventDied, e.Text == "exit code 1")
	}
	h.Signal(t, syscall.SIGTERM)
	assert.Zero(t, h.Wait())
}

func TestStopWhileARequestSleeps(t *testing.T) {
	h := demotest.Start(t, "-nodes", "4")
	type answer struct {
		body string
		err  error
	}
	const requests = 8
	answers := make(chan answer, requests)
	for d := 2 * time.Second; ; d *= 3 { // on a slow machine the first has its answer before the last is read
		for range requests {
			go func() { // ends with the request, for which the test waits
				_, body, err := h.Do(nil, http.MethodGet, fmt.Sprintf("/sleep?d=%v", d), "")
				answers <- answer{body, err}
			}()
		}
		if awaitConnections(t, h, requests, func() bool { return len(answers) > 0 }) {
			break
		}
		for range requests {
			require.NoError(t, (<-answers).err)
		}
	}
	h.Signal(t, syscall.SIGTERM)
	for range requests {
		a := <-answers
		require.NoError(t, a.err)
		assert.Regexp(t, greeting, a.body)
	}
	assert.Zero(t, h.Wait())
}

// awaitConnections waits until the servers have read all of so many requests, and returns true, or until it is too late:
// all have been read when each of their connections has an empty receive queue.
func awaitConnections(t *testing.T, h *demotest.Program, requests int, tooLate func() bool) bool {
	t.Helper()
	port, err := strconv.Atoi(h.Addr[strings.LastIndexByte(h.Addr, ':')+1:])
	require.NoError(t, err)
	local := fmt.Sprintf(":%04X ", port)
	read := 0
	assert.Eventually(t, func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		require.NoError(t, err)
		read = 0
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line) // number, local, remote, state, tx_queue:rx_queue, ..., inode
			const established, inode = "01", 9
			if strings.HasSuffix(fields[1]+" ", local) && fields[3] == established &&
				strings.HasSuffix(fields[4], ":00000000") && fields[inode] != "0" {
				read++
			}
		}
		return read == requests || tooLate()
	}, patience, 10*time.Millisecond)
	return read == requests
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
		{[]string{"-nodes", "-3"}, "hello: cluster: option Nodes is -3", 1},
		{[]string{"-addr", "nowhere"}, "hello: cluster: ", 1},
	} {
		demotest.CheckUsage(t, c.args, c.want, c.code)
	}
}

func TestUsageExplainsEachFlag(t *testing.T) {
	var out bytes.Buffer
	_, err := parseFlags([]string{"-h"}, &out)
	require.Error(t, err)
	for _, word := range []string{"-addr", "-nodes", "-master-listen", "-name", "-dir", ":8080", "/crash", "SIGTERM"} {
		assert.Contains(t, out.String(), word)
	}
}
