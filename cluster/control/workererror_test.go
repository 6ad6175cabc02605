package control

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWorkerErrorTellsLastWords(t *testing.T) {
	err := &WorkerError{ID: 5, Slot: 2, PID: 99, Reason: "exit code 2", LastWords: "panic: a\n\tb"}
	require.EqualError(t, err, "worker 5 (slot 2, pid 99) died before it was ready: exit code 2; its last words:\n\tpanic: a\n\t\tb")
	err = &WorkerError{ID: 5, Slot: 2, PID: 99, Reason: "signal: killed", Ready: true}
	assert.EqualError(t, err, "worker 5 (slot 2, pid 99) died after it was ready: signal: killed")
}
