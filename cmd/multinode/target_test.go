package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNoClusterRuns(t *testing.T) {
	place := tempPlace(t)
	code, stdout, stderr := runs(t, place, "status")
	assert.Equal(t, codeNotRunning, code)
	assert.Empty(t, stdout)
	assert.Equal(t, "multinode: no cluster of this user runs in "+place+"\n"+
		"start one, or name the directory of one that has its own: --dir DIR\n", stderr)
}

func TestOnlyCluster(t *testing.T) {
	place := tempPlace(t)
	startFake(t, place, "web")
	for _, args := range [][]string{
		{"status"}, {"status", "web"}, {"status", "--name", "web"}, {"status", "--dir", place + "/web"}, {"status", place + "/web"},
	} {
		code, stdout, stderr := runs(t, place, args...)
		assert.Equal(t, codeDone, code, stderr)
		assert.Contains(t, stdout, "web at 127.0.0.1:8080")
	}
}

func TestSeveralClusters(t *testing.T) {
	place := tempPlace(t)
	startFake(t, place, "web")
	startFake(t, place, "api-2")
	code, _, stderr := runs(t, place, "status")
	assert.Equal(t, codeUsage, code)
	assert.Equal(t, `multinode: 2 clusters run: name the one that you mean
  api-2  at 127.0.0.1:8080, master pid 4711
  web    at 127.0.0.1:8080, master pid 4711
multinode status --help explains it
`, stderr)
	code, stdout, _ := runs(t, place, "status", "api-2")
	assert.Equal(t, codeDone, code)
	assert.Contains(t, stdout, "api-2 at")
}

func TestClusterThatDoesNotRun(t *testing.T) {
	place := tempPlace(t)
	startFake(t, place, "web")
	code, _, stderr := runs(t, place, "status", "shop")
	assert.Equal(t, codeNotRunning, code)
	assert.Contains(t, stderr, "multinode: cluster shop is not running: there is no ")
	assert.Contains(t, stderr, "these run:\n  web  at 127.0.0.1:8080, master pid 4711\n")

	// Its master was killed.
	require.NoError(t, os.Mkdir(filepath.Join(place, "dead"), 0o700))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(place, "dead", masterSocket), Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	for _, args := range [][]string{{"status", "dead"}, {"stop", "dead"}, {"reload", "--dir", place + "/dead"}} {
		code, _, stderr = runs(t, place, args...)
		assert.Equal(t, codeNotRunning, code)
		assert.Contains(t, stderr, "cluster dead is not running: dial unix")
	}
	code, _, _ = runs(t, place, "status")
	assert.Equal(t, codeDone, code, "it is not one of those that run")
}

func TestWrongNames(t *testing.T) {
	place := tempPlace(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status", "a b"}, `cluster name "a b": want 1 to 64 letters`},
		{[]string{"status", "web", "--name", "web"}, `"web" and a flag both name the cluster`},
		{[]string{"status", "--name", "web", "--dir", "x"}, "[dir name] were all set"},
		{[]string{"status", "web", "api"}, `"api" is one too many: multinode status [NAME] [flags]`},
		{[]string{"scale"}, "something is missing: multinode scale [NAME] N [flags], as in multinode scale 8"},
		{[]string{"scale", "web"}, `"web" is no number: say how many nodes`},
		{[]string{"drain", "web", "x"}, `"x" is no number: say the id of a worker`},
		{[]string{"statu"}, "Did you mean this?\n\tstatus"},
		{[]string{"status", "--jso"}, "unknown flag: --jso"},
		{[]string{"status", "-dir", "x"}, "its long flags have two dashes: --dir"},
		{[]string{"-dir=x", "status"}, "its long flags have two dashes: --dir"},
		{[]string{"reload", "--timeout", "5"}, `invalid argument "5"`},
		{[]string{"run", "-n", "-3", "--", "x"}, "--nodes -3: give a number from 1"},
		{[]string{"run", "-n", "3"}, "no program: say what to run, as in multinode run -n 4 -- ./server"},
	} {
		code, _, stderr := runs(t, place, c.args...)
		assert.Equal(t, codeUsage, code, c.args)
		assert.Contains(t, stderr, c.want)
		assert.Contains(t, stderr, "--help explains it\n")
	}
}

func TestClusterWithALongPath(t *testing.T) {
	if !isDirectory("/proc/self/fd") {
		t.Skip("this system knows no way around the limit of sun_path")
	}
	place := tempPlace(t)
	f := startFake(t, place, "web")
	long := filepath.Join(place, strings.Repeat("x", 120))
	require.NoError(t, os.Mkdir(long, 0o700))
	require.NoError(t, os.Symlink(filepath.Join(f.dir, masterSocket), filepath.Join(long, masterSocket)))
	code, stdout, stderr := runs(t, place, "status", "--dir", long)
	assert.Equal(t, codeDone, code, stderr)
	assert.Contains(t, stdout, "web at")
}

func TestList(t *testing.T) {
	place := tempPlace(t)
	code, stdout, _ := runs(t, place, "list")
	assert.Equal(t, codeDone, code)
	assert.Equal(t, "no cluster of this user runs\n", stdout)
	_, stdout, _ = runs(t, place, "list", "--json")
	assert.Equal(t, "[]\n", stdout)

	startFake(t, place, "web")
	startFake(t, place, "api")
	_, stdout, _ = runs(t, place, "ls")
	assert.Regexp(t, `^NAME  ADDRESS         MASTER PID +UP  DIRECTORY
api   127.0.0.1:8080        4711 +\d+d\d+h  `+place+`/api
web   127.0.0.1:8080        4711 +\d+d\d+h  `+place+"/web\n$", stdout)
	_, stdout, _ = runs(t, place, "list", "--json")
	assert.Contains(t, stdout, `"directory": "`+place+`/api"`)
}

func TestCompletion(t *testing.T) {
	place := tempPlace(t)
	startFake(t, place, "web")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status", ""}, "web\tat 127.0.0.1:8080\n"},
		{[]string{"status", "--name", ""}, "web\tat 127.0.0.1:8080\n"},
		{[]string{"drain", ""}, "3\tslot 1, ready\n"},
		{[]string{"drain", "web", ""}, "3\tslot 1, ready\n"},
		{[]string{"status", "web", ""}, ""},
	} {
		_, stdout, _ := runs(t, place, append([]string{"__complete"}, c.args...)...)
		assert.Equal(t, c.want+":4\n", stdout, c.args)
	}
	startFake(t, place, "api")
	_, stdout, _ := runs(t, place, "__complete", "drain", "")
	assert.Equal(t, "api\tat 127.0.0.1:8080\nweb\tat 127.0.0.1:8080\n:4\n", stdout, "which one is not clear")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, stdout, _ := runs(t, place, "completion", shell)
		assert.Equal(t, codeDone, code)
		assert.Contains(t, stdout, "multinode")
	}
}
