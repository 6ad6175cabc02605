package invalidate

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pidfd is a process, which may be the child of another one: no other process is ever taken for it.
type pidfd int

// openProcess returns the process, until the end of the test. It may have ended.
func openProcess(t *testing.T, pid int) pidfd {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, unix.Close(fd)) })
	return pidfd(fd)
}

// signal sends a signal, if the process has not ended.
func (p pidfd) signal(s unix.Signal) { _ = unix.PidfdSendSignal(int(p), s, nil, 0) }

// awaitEnd waits until the kernel has ended the process, with all its threads.
func (p pidfd) awaitEnd(t *testing.T) {
	t.Helper()
	for p >= 0 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p), Events: unix.POLLIN}}, int(patient.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			assert.True(t, err == nil && n == 1, "it does not end: %v", err)
			return
		}
	}
}
