package reuseport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

// foreign is a child process.
type foreign struct {
	pid      int
	listener reuseport.Listener
	end      func()
}

func startForeign(t *testing.T, address string) foreign {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+address, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	f := foreign{pid: cmd.Process.Pid, end: func() {
		input.Close()
		cmd.Wait()
	}}
	t.Cleanup(f.end)
	line, err := bufio.NewReader(output).ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &f.listener))
	return f
}

// Two processes that know nothing of it are steered, drained and told from each other. Not parallel: see heir.
func TestBorrow(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		t.Run(address, func(t *testing.T) {
			first := startForeign(t, address)
			second := startForeign(t, first.listener.Addr.String())
			pids := []int{os.Getpid(), second.pid, first.pid}

			found, err := reuseport.ListeningOf(t.Context(), pids)
			require.NoError(t, err)
			assert.Equal(t, map[int][]reuseport.Listener{
				first.pid:  {first.listener},
				second.pid: {second.listener},
			}, found)

			for index, holder := range []foreign{first, second} {
				b, err := reuseport.Borrow(holder.pid, holder.listener.Inode)
				require.NoError(t, err)
				ino, err := reuseport.Inode(b)
				require.NoError(t, err)
				assert.Equal(t, holder.listener.Inode, ino)
				q, err := reuseport.NewQuestion(t.Context(), net.TCPAddrFromAddrPort(holder.listener.Addr))
				require.NoError(t, err)
				defer q.Close()
				require.NoError(t, reuseport.Attach(b, reuseport.Steering{
					Weights: only(1-index, 2),
					Mark:    &reuseport.Mark{Port: q.Port(), Index: index},
				}))
				require.NoError(t, q.Connect(t.Context()))
				for _, local := range []netip.AddrPort{holder.listener.Addr, q.Target()} {
					pid, err := reuseport.Holder(t.Context(), local, q.Source(), pids)
					require.NoError(t, err)
					assert.Equal(t, holder.pid, pid)
				}
				_, err = reuseport.Drain(t.Context(), b)
				require.NoError(t, err)
				require.NoError(t, b.Close())
				require.NoError(t, b.Close())
			}
			second.end()
			left, err := reuseport.Listeners(t.Context(), "tcp", first.listener.Addr.String())
			require.NoError(t, err)
			assert.Equal(t, []reuseport.Listener{first.listener}, left, "nothing of ours keeps it open")
		})
	}
}

func TestBorrowErrors(t *testing.T) {
	f := startForeign(t, "127.0.0.1:0")
	before := openDescriptors(t)
	_, err := reuseport.Borrow(f.pid, f.listener.Inode+1)
	require.ErrorIs(t, err, os.ErrNotExist)
	conn := dial(t, f.listener.Addr.String()).(*net.TCPConn)
	ino, err := reuseport.Inode(conn)
	require.NoError(t, err)
	_, err = reuseport.Borrow(os.Getpid(), ino)
	require.ErrorIs(t, err, os.ErrNotExist, "it does not listen")
	conn.Close()
	assert.Equal(t, before, openDescriptors(t))

	var denied error
	if os.Getuid() == 0 {
		asNobody(t, func() { _, denied = reuseport.Borrow(f.pid, f.listener.Inode) })
		require.ErrorIs(t, denied, os.ErrPermission)
	}
	f.end()
	_, err = reuseport.Borrow(f.pid, f.listener.Inode)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestHolderWaits(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			members, _ := k.members(t, 1)
			q := ask(t, members[0])
			ended, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := reuseport.Holder(ended, q.Target(), q.Source(), []int{os.Getpid()})
			require.ErrorIs(t, err, context.DeadlineExceeded, "not yet connected")
			require.NoError(t, q.Connect(t.Context()))
			requireLength(t, members[0], 1)
			ended, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err = reuseport.Holder(ended, q.Target(), q.Source(), []int{os.Getpid()})
			require.ErrorIs(t, err, context.DeadlineExceeded, "not yet accepted")
			done := make(chan error, 1)
			go func() { // ends with accept
				_, err := reuseport.Holder(t.Context(), q.Target(), q.Source(), []int{os.Getpid()})
				done <- err
			}()
			accept(t, members[0])
			require.NoError(t, <-done)
			_, err = reuseport.Holder(t.Context(), q.Target(), q.Source(), []int{1, 1 << 22})
			assert.ErrorIs(t, err, reuseport.ErrNoHolder)
		})
	}
}
