package main

import (
	"bytes"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cluster/control"
)

// programVariable makes the test binary a cluster in that directory.
const programVariable = "MULTINODE_TEST_DIR"

// serve is a program that makes itself a cluster of three nodes.
func serve(dir string) int {
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.NotFoundHandler()}
	node, err := cluster.Listen(cluster.Options{Addr: "127.0.0.1:0", Nodes: 3, Name: "real", Dir: dir}, server)
	if err == nil {
		err = node.Wait()
	}
	if err != nil {
		log.Print(err)
		return 1
	}
	return 0
}

// startReal starts a real cluster in place. It returns a function that waits for its end.
func startReal(t *testing.T, place string) (wait func() int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a cluster of several processes needs Linux")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), programVariable+"="+place+"/real", "GORACE=atexit_sleep_ms=0")
	var stderr bytes.Buffer // readable after ended
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { // ended by the end of the test at the latest; the cleanup waits
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		<-ended
		if t.Failed() {
			t.Logf("standard error of the cluster:\n%s", stderr.String())
		}
	})
	require.Eventually(t, func() bool { return len(ready(t, place)) == 3 }, patience, 10*time.Millisecond)
	return func() int {
		<-ended
		return cmd.ProcessState.ExitCode()
	}
}

// ready returns the ids of the nodes that are, as status shows them.
func ready(t *testing.T, place string) (ids []int) {
	t.Helper()
	_, stdout, _ := runs(t, place, "status", "--json")
	var s control.Status
	_ = json.Unmarshal([]byte(stdout), &s) // it may not run yet
	for _, n := range s.Nodes {
		if n.State == control.StateReady && n.Accepts {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// All orders, on processes.
func TestRealCluster(t *testing.T) {
	place := tempPlace(t)
	wait := startReal(t, place)
	events := begins(t, place, "events", "--json")
	requireDone := func(args ...string) string {
		code, stdout, stderr := runs(t, place, args...)
		require.Equal(t, codeDone, code, "%s%s", stdout, stderr)
		return stdout
	}
	assert.Contains(t, requireDone("list"), place+"/real")
	assert.Contains(t, requireDone("status"), "ready (master)")

	before := ready(t, place)
	assert.Regexp(t, `(?s)^reloading the 2 workers of real\n.*slot 1: node \d+ ready after .*, node 1 drained in .*`+
		`slot 2: node \d+ ready after .*, node 2 drained in .*reloaded real in .*\n$`, requireDone("reload"))
	after := ready(t, place)
	require.Len(t, after, 3)
	for _, id := range before {
		assert.NotContains(t, after, id)
	}
	requireDone("scale", "5")
	assert.Len(t, ready(t, place), 5)
	requireDone("scale", "2")
	assert.Len(t, ready(t, place), 2)
	id := strconv.Itoa(ready(t, place)[1])
	assert.Regexp(t, `replacing node `+id+` of real\nslot \d+: node \d+ ready after .*, node `+id+` drained in`, requireDone("drain", id))
	code, _, stderr := runs(t, place, "drain", id)
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stderr, `no worker has the id "`+id+`"`)

	assert.Regexp(t, `(?s)^stopping .*stopped real in .*\n$`, requireDone("stop"))
	code, _, _ = runs(t, place, "status", "real")
	assert.Equal(t, codeNotRunning, code)
	assert.Zero(t, wait())
	assert.Equal(t, codeNotRunning, events.wait(t))
	for _, kind := range []string{"reloading", "reloaded", "scaled", "drained", "left", "stopping"} {
		assert.Contains(t, events.stdout.String(), `"kind":"`+kind+`"`)
	}
}
