package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func appendLog(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func TestLogs(t *testing.T) {
	place := tempPlace(t)
	path := filepath.Join(place, "web", logFile)
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	for i := range 300 {
		appendLog(t, path, fmt.Sprintf("slot %d | line %d\n", i%11, i))
	}
	appendLog(t, path, "slot 1 | half a line")
	for _, c := range []struct {
		args  []string
		lines int
		first string
	}{
		{nil, 100, "slot 2 | line 200"},
		{[]string{"-n", "-1"}, 300, "slot 0 | line 0"},
		{[]string{"-n", "2"}, 2, "slot 1 | line 298"},
		{[]string{"--slot", "1"}, 28, "slot 1 | line 1"},
		{[]string{"-n0"}, 0, ""},
	} {
		code, stdout, _ := runs(t, place, append([]string{"logs", "--dir", place + "/web"}, c.args...)...)
		assert.Equal(t, codeDone, code)
		assert.Equal(t, c.lines, strings.Count(stdout, "\n"), c.args)
		if c.lines > 0 {
			assert.Equal(t, c.first, stdout[:strings.IndexByte(stdout, '\n')])
		}
	}
}

func TestLogsFollow(t *testing.T) {
	place := tempPlace(t)
	path := filepath.Join(place, "web", logFile)
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	appendLog(t, path, "slot 1 | one\nslot 2 | two\n")
	c := begins(t, place, "logs", "-f", "--dir", place+"/web", "--slot", "1")
	c.awaitOutput(t, "slot 1 | one\n")
	appendLog(t, path, "slot 1 | th")
	appendLog(t, path, "ree\nslot 2 | four\nslot 1 | five\n")
	c.awaitOutput(t, "slot 1 | three\nslot 1 | five\n")
	require.NoError(t, os.Rename(path, path+".1")) // another one takes its place
	appendLog(t, path, "slot 1 | six\n")
	c.awaitOutput(t, "slot 1 | six\n")
	require.NoError(t, os.Truncate(path, 0)) // it begins again
	appendLog(t, path, "slot 1 | 7\n")
	c.awaitOutput(t, "slot 1 | 7\n")
	c.interrupt()
	assert.Equal(t, codeDone, c.wait(t))
	assert.NotContains(t, c.stdout.String(), "slot 2")
}

func TestNoLog(t *testing.T) {
	place := tempPlace(t)
	startFake(t, place, "web")
	code, _, stderr := runs(t, place, "logs")
	assert.Equal(t, codeFailed, code)
	assert.Contains(t, stderr, "cluster web has no log of its own, as it was not started by multinode run")
	code, _, stderr = runs(t, place, "logs", "shop")
	assert.Equal(t, codeNotRunning, code)
	assert.Contains(t, stderr, "cluster shop is not running")
}
