package descriptors

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lower gives this process a limit of so many more descriptors than it has open, until the end of the test.
func lower(t *testing.T, more int) {
	t.Helper()
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	low := before
	low.Cur = uint64(count() + more)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low))
	t.Cleanup(func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)) })
}

func TestNeed(t *testing.T) {
	_, err := os.Stat("/dev/fd")
	require.NoError(t, err)
	lower(t, 20)
	open := count()
	require.NoError(t, Need("a test", 20))
	err = Need("a test", 21)
	require.ErrorIs(t, err, syscall.EMFILE)
	for _, word := range []string{
		"a test needs 21 more file descriptors", fmt.Sprintf("%d of the %d that this process may have (RLIMIT_NOFILE) are open", open, open+20),
		fmt.Sprintf("raise the limit to %d or more", open+21), `"ulimit -n 1024"`, "LimitNOFILE=",
	} {
		assert.ErrorContains(t, err, word)
	}
}

// TestExplainAccept lets a listener run into the limit: a server still sees an error that passes.
func TestExplainAccept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	lower(t, 0)
	for full := false; !full; { // the limit is one of numbers, of which some may be free
		file, err := os.Open(os.DevNull)
		if full = err != nil; !full {
			defer file.Close() //nolint:revive // all of them, at the end
		}
	}
	_, err = l.Accept()
	require.ErrorIs(t, err, syscall.EMFILE)
	told := ExplainAccept(err)
	require.ErrorIs(t, told, syscall.EMFILE)
	require.ErrorContains(t, told, "RLIMIT_NOFILE")
	op, ok := told.(*net.OpError) //nolint:errorlint // as net/http looks at it
	require.True(t, ok)
	assert.True(t, op.Temporary())
	assert.Same(t, told, Explain(told))
}

func TestExplainLeavesOtherErrors(t *testing.T) {
	for _, err := range []error{nil, errors.New("other"), &net.OpError{Op: "accept", Err: syscall.EINVAL}, net.ErrClosed} {
		assert.Equal(t, err, Explain(err))
		assert.Equal(t, err, ExplainAccept(err))
	}
	assert.ErrorContains(t, Explain(syscall.ENFILE), "fs.file-max")
}
