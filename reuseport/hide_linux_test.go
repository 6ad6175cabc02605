package reuseport_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

// TestHide: what waits is still there, who comes is not answered, and finds another member after the close.
func TestHide(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			members, client := k.members(t, 2)
			attach(t, members[0], 1, 0)
			dial(t, client)
			require.NoError(t, reuseport.Hide(members[0]))
			late := make(chan error, 1)
			go func() { // ends within limit
				conn, err := net.DialTimeout("tcp", client, limit)
				if err == nil {
					err = conn.Close()
				}
				late <- err
			}()
			select {
			case err := <-late:
				require.Fail(t, "it was answered", "%v", err)
			case <-time.After(100 * time.Millisecond):
			}
			accept(t, members[0])
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := reuseport.Drain(ctx, members[0])
			require.NoError(t, err)
			require.NoError(t, members[0].Close())
			accept(t, members[1])
			require.NoError(t, <-late)

			require.NoError(t, reuseport.Hide(members[1]))
			_, err = net.DialTimeout("tcp", client, impatience)
			if errors.Is(err, syscall.ECONNREFUSED) {
				return // it is not found
			}
			assert.ErrorIs(t, err, context.DeadlineExceeded, "nobody else is there")
		})
	}
	l := listen(t, "tcp", "127.0.0.1:0")
	require.NoError(t, l.Close())
	require.ErrorIs(t, reuseport.Hide(l), net.ErrClosed)
}
