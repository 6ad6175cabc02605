package cluster

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLastWords(t *testing.T) {
	stack := "\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:7 +0x18\nexit status 2\n"
	many := strings.Repeat("a line of a log\n", 100)
	for _, c := range []struct{ name, tail, want string }{
		{"nothing", "", ""},
		{"one line", "cannot open config.yml\n", "cannot open config.yml"},
		{"panic", "panic: boom" + stack, "panic: boom"},
		{"panic behind a log", many + "panic: boom\n\ta second line" + stack, "panic: boom\n\ta second line"},
		{"panic of a panic", "panic: one [recovered]\n\tpanic: two" + stack, "panic: one [recovered]\n\tpanic: two"},
		{"fatal error", many + "fatal error: all goroutines are asleep - deadlock!" + stack, "fatal error: all goroutines are asleep - deadlock!"},
		{"SIGQUIT", "SIGQUIT: quit\nPC=0x1 m=0\n\ngoroutine 7 [select]:\nb()\n\ngoroutine 1 [chan receive]:\nmain.main()\n\ngoroutine 9 [select]:\nc()\n", "goroutine 1 [chan receive]:\nmain.main()"},
		{"the word in a sentence", "do not panic: stay\nend", "do not panic: stay\nend"},
		{"long log", many, strings.TrimSpace(strings.Repeat("a line of a log\n", maxWordLines))},
		{"one endless line", strings.Repeat("x", 1<<20), strings.Repeat("x", maxWordBytes)},
	} {
		assert.Equal(t, c.want, lastWords(c.tail), c.name)
	}
}

func TestExitString(t *testing.T) {
	for want, e := range map[string]exit{
		"exit code 0":                              {},
		"exit code 7":                              {code: 7},
		"signal: killed":                           {signal: syscall.SIGKILL},
		"out of memory, killed by the kernel":      {signal: syscall.SIGKILL, outOfMemory: true},
		"signal: segmentation fault (core dumped)": {signal: syscall.SIGSEGV, core: true},
		"start: no such file":                      {err: errors.New("start: no such file")},
	} {
		assert.Equal(t, want, e.String())
	}
}

func TestWorkerErrorTellsLastWords(t *testing.T) {
	err := &WorkerError{ID: 5, Slot: 2, PID: 99, Reason: "exit code 2", LastWords: "panic: a\n\tb"}
	require.EqualError(t, err, "worker 5 (slot 2, pid 99) died before it was ready: exit code 2; its last words:\n\tpanic: a\n\t\tb")
	err = &WorkerError{ID: 5, Slot: 2, PID: 99, Reason: "signal: killed", Ready: true}
	assert.EqualError(t, err, "worker 5 (slot 2, pid 99) died after it was ready: signal: killed")
}
