package reuseport_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

// modes are those of a MultiListener.
var modes = []reuseport.WatchMode{reuseport.WatchExclusive, reuseport.WatchPolling}

// multi returns a listener with several queues on a port.
func multi(t *testing.T, network, address string, mode reuseport.WatchMode) *reuseport.MultiListener {
	t.Helper()
	m, err := reuseport.NewMultiListener(listen(t, network, address), reuseport.MultiOptions{Mode: mode})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	require.Equal(t, mode, m.Mode())
	return m
}

// watch lets one listener watch the queue of another one.
func watch(t *testing.T, m *reuseport.MultiListener, of *reuseport.MultiListener) (inode uint32) {
	t.Helper()
	b, err := of.Lend(0)
	require.NoError(t, err)
	inode, err = m.Watch(b)
	require.NoError(t, err)
	want, err := reuseport.Inode(of)
	require.NoError(t, err)
	require.Equal(t, want, inode)
	return inode
}

func TestProbeWatch(t *testing.T) {
	t.Parallel()
	require.NoError(t, reuseport.ProbeWatch(), "it needs Linux 4.13 and /proc")
}

// TestMultiListenerTakesFromASibling that does not accept, and each connection once.
func TestMultiListenerTakesFromASibling(t *testing.T) {
	t.Parallel()
	const connections = 100
	idle := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	other := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	inode := watch(t, other, idle)
	done := make(chan error, 1)
	go func() { // ends when all have come, or with the test's end, which closes other
		for range connections {
			conn, from, err := other.AcceptFrom()
			if err == nil && from != inode {
				err = errors.New("it is not from the sibling")
			}
			if err != nil {
				done <- err
				return
			}
			conn.Close()
		}
		done <- nil
	}()
	for range connections {
		dial(t, idle.Addr().String())
	}
	require.NoError(t, <-done)
	own := inodeOf(t, other)
	assert.Equal(t, []reuseport.QueueCount{{Inode: own}, {Inode: inode, Accepted: connections}, {}}, other.Counts())
	require.NoError(t, other.Unwatch(inode))
	assert.Equal(t, []reuseport.QueueCount{{Inode: own}, {Accepted: connections}}, other.Counts())
	require.ErrorIs(t, other.Unwatch(inode), os.ErrNotExist)
}

// TestMultiListenersTakeEachConnectionOnce while they come and go, and everybody watches everybody.
func TestMultiListenersTakeEachConnectionOnce(t *testing.T) {
	t.Parallel()
	const connections = 600
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			all := []*reuseport.MultiListener{multi(t, "tcp", "127.0.0.1:0", mode)}
			for len(all) < 3 {
				all = append(all, multi(t, "tcp", all[0].Addr().String(), mode))
			}
			accepted := make(chan string, connections)
			var loops, churn sync.WaitGroup
			for _, m := range all {
				for range 2 { // several may be in Accept
					loops.Go(func() { // ends with m
						for {
							conn, err := m.Accept()
							if err != nil {
								assert.ErrorIs(t, err, net.ErrClosed)
								return
							}
							accepted <- conn.RemoteAddr().String()
							conn.Close()
						}
					})
				}
			}
			stop := make(chan struct{})
			churn.Go(func() { // ends with stop
				for {
					for i, m := range all {
						for j, of := range all {
							if i == j {
								continue
							}
							inode := watch(t, m, of)
							select {
							case <-stop:
								return
							default:
								assert.NoError(t, m.Unwatch(inode))
							}
						}
					}
				}
			})
			want := make([]string, 0, connections)
			for range connections {
				conn, err := net.DialTimeout("tcp", all[0].Addr().String(), limit)
				require.NoError(t, err)
				want = append(want, conn.LocalAddr().String())
				conn.Close()
			}
			got := make([]string, 0, connections)
			for range connections {
				select {
				case one := <-accepted:
					got = append(got, one)
				case <-time.After(limit):
					require.Fail(t, "connections wait", "%d of %d have come", len(got), connections)
				}
			}
			close(stop)
			churn.Wait()
			assert.ElementsMatch(t, want, got)
			for _, m := range all {
				require.NoError(t, m.Close())
			}
			loops.Wait()
		})
	}
}

// TestMultiListenerOfAPausingServer: what comes to a process that does not come back to Accept, and is idle, is accepted by a sibling.
func TestMultiListenerOfAPausingServer(t *testing.T) {
	t.Parallel()
	const connections = 20
	child := startLender(t, "tcp", "127.0.0.1:0")
	m := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	inode, err := m.Watch(child.lent)
	require.NoError(t, err)
	require.NoError(t, m.SetDeadline(time.Now().Add(limit)))
	for range connections {
		dial(t, child.address) // which it accepts
		child.awaitAccept(t)
		dial(t, child.address) // by which it may be woken
		conn, from, err := m.AcceptFrom()
		require.NoError(t, err)
		assert.Equal(t, inode, from)
		conn.Close()
		_, err = child.conn.Write([]byte{0})
		require.NoError(t, err)
	}
}

// TestMultiListenerTakesNothingWhilePausing: connections of a sibling stay where they are.
func TestMultiListenerTakesNothingWhilePausing(t *testing.T) {
	t.Parallel()
	const connections = 20
	pausing := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	other := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	watch(t, pausing, other)
	for range connections {
		dial(t, pausing.Addr().String())
		conn, from, err := pausing.AcceptFrom()
		require.NoError(t, err)
		assert.Zero(t, from)
		conn.Close()
		dial(t, other.Addr().String())
		require.NoError(t, other.SetDeadline(time.Now().Add(limit)))
		conn, _, err = other.AcceptFrom()
		require.NoError(t, err)
		conn.Close()
	}
	assert.Zero(t, pausing.Counts()[1].Accepted)
}

// TestMultiListenerThatDoesNotHelp takes nothing from others, until it does again.
func TestMultiListenerThatDoesNotHelp(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			sibling, m := multi(t, "tcp", "127.0.0.1:0", mode), multi(t, "tcp", "127.0.0.1:0", mode)
			inode := watch(t, m, sibling)
			require.NoError(t, m.Help(false))
			require.NoError(t, m.SetDeadline(time.Now().Add(limit)))
			const connections = 10
			for range connections {
				dial(t, sibling.Addr().String())
				time.Sleep(2 * time.Millisecond) // it would look at the queue
				dial(t, m.Addr().String())
				conn, from, err := m.AcceptFrom()
				require.NoError(t, err)
				assert.Zero(t, from)
				conn.Close()
			}
			require.NoError(t, m.Help(true))
			for taken := 0; taken < connections; {
				if mode == reuseport.WatchPolling {
					dial(t, m.Addr().String()) // whose accept looks
				}
				conn, from, err := m.AcceptFrom()
				require.NoError(t, err)
				conn.Close()
				if from == inode {
					taken++
				}
			}
		})
	}
}

// TestMultiListenerTellsItsOrder: siblings hear when it is woken after them, and a watch that is renewed is behind it.
func TestMultiListenerTellsItsOrder(t *testing.T) {
	t.Parallel()
	registered := make(chan struct{}, 10)
	m, err := reuseport.NewMultiListener(listen(t, "tcp", "127.0.0.1:0"), reuseport.MultiOptions{
		Mode: reuseport.WatchExclusive, Registered: func() { registered <- struct{}{} },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	for count := 0; count < 2; { // the second time after a pause
		dial(t, m.Addr().String())
		conn, err := m.Accept()
		require.NoError(t, err)
		conn.Close()
		select {
		case <-registered:
			count++
		case <-time.After(10 * time.Millisecond):
		}
	}
	other := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	inode := watch(t, other, m)
	require.NoError(t, other.Renew(inode))
	require.ErrorIs(t, other.Renew(1), os.ErrNotExist)
}

// TestMultiListenerOfACrash: what waits in the queue of a process that is killed is accepted by one that watches it.
func TestMultiListenerOfACrash(t *testing.T) {
	t.Parallel()
	const connections = 100
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			reserved, err := reuseport.Reserve(t.Context(), k.network, k.address)
			require.NoError(t, err)
			defer reserved.Close()
			child := startLender(t, k.network, reserved.Addr().String())
			m := multi(t, k.network, "127.0.0.1:0", reuseport.WatchExclusive)
			inode, err := m.Watch(child.lent)
			require.NoError(t, err)
			client := net.JoinHostPort(k.client, strconv.Itoa(reserved.Addr().Port))
			dial(t, client)
			child.awaitAccept(t)
			for range connections {
				dial(t, client)
			}
			require.NoError(t, child.process.Kill())
			_, err = child.process.Wait()
			require.NoError(t, err)
			require.NoError(t, m.SetDeadline(time.Now().Add(limit)))
			for range connections {
				conn, from, err := m.AcceptFrom()
				require.NoError(t, err)
				assert.Equal(t, inode, from)
				conn.Close()
			}
		})
	}
}

// lending is a process that listens, and lends its listener.
type lending struct {
	process *os.Process
	conn    *net.UnixConn
	lent    *reuseport.Borrowed
	address string
}

func startLender(t *testing.T, network, address string) lending {
	t.Helper()
	ours, theirs := unixPair(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), lenderEnv+"="+network+" "+address)
	cmd.Stderr = os.Stderr
	file, err := theirs.File()
	require.NoError(t, err)
	cmd.ExtraFiles = []*os.File{file}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         // it was killed
	})
	require.NoError(t, file.Close())
	lent, with, err := reuseport.Receive(ours)
	require.NoError(t, err)
	require.Equal(t, byte(7), with)
	inode, err := reuseport.Inode(lent)
	require.NoError(t, err)
	listening, err := reuseport.ListeningOf(t.Context(), []int{cmd.Process.Pid})
	require.NoError(t, err)
	require.Len(t, listening[cmd.Process.Pid], 1)
	require.Equal(t, inode, listening[cmd.Process.Pid][0].Inode)
	return lending{cmd.Process, ours, lent, listening[cmd.Process.Pid][0].Addr.String()}
}

// awaitAccept waits until the process has accepted.
func (l lending) awaitAccept(t *testing.T) {
	t.Helper()
	_, err := l.conn.Read([]byte{0})
	require.NoError(t, err)
}

// unixPair returns two Unix sockets that are connected with each other.
func unixPair(t *testing.T) (one, other *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	one, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	require.NoError(t, err)
	other, err = l.AcceptUnix()
	require.NoError(t, err)
	t.Cleanup(func() {
		one.Close()
		other.Close()
	})
	return one, other
}

// TestReceiveRefuses what is no listener of ours, and leaves nothing open.
func TestReceiveRefuses(t *testing.T) {
	t.Parallel()
	one, other := unixPair(t)
	_, err := one.Write([]byte{0})
	require.NoError(t, err)
	_, _, err = reuseport.Receive(other)
	require.ErrorIs(t, err, syscall.EINVAL, "no descriptor")

	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	l := listen(t, "tcp", "127.0.0.1:0")
	conn := dial(t, l.Addr().String()).(*net.TCPConn)
	unixListener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	require.NoError(t, err)
	defer unixListener.Close()
	for _, bad := range []syscall.Conn{file, conn, unixListener, one} {
		c, err := bad.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, c.Control(func(fd uintptr) {
			_, _, err = one.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil)
		}))
		require.NoError(t, err)
		_, _, err = reuseport.Receive(other)
		require.ErrorIs(t, err, syscall.EINVAL, "%T", bad)
	}
	require.NoError(t, one.Close())
	_, _, err = reuseport.Receive(other)
	require.ErrorIs(t, err, io.EOF)
}

// TestShutdownOfALentListener takes it out of its group whoever watches it, and ends the watches.
func TestShutdownOfALentListener(t *testing.T) {
	t.Parallel()
	lender := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	m := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	inode := watch(t, m, lender)
	go func() { // ends with m
		for {
			if conn, err := m.Accept(); err == nil {
				conn.Close()
				continue
			}
			return
		}
	}()
	lent, err := lender.Lend(0)
	require.NoError(t, err)
	require.NoError(t, lent.Shutdown())
	require.NoError(t, lent.Close())
	_, err = net.DialTimeout("tcp", lender.Addr().String(), limit)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Eventually(t, func() bool { return len(m.Counts()) == 2 }, limit, time.Millisecond, "the watch ends by itself")
	require.ErrorIs(t, m.Unwatch(inode), os.ErrNotExist)
}

// TestMultiListenerKeepAlive: connections of a sibling have what its listener gives them.
func TestMultiListenerKeepAlive(t *testing.T) {
	t.Parallel()
	lender := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	m := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	inode := watch(t, m, lender)
	client := dial(t, lender.Addr().String())
	conn, from, err := m.AcceptFrom()
	require.NoError(t, err)
	defer conn.Close()
	assert.Equal(t, inode, from)
	assert.Equal(t, lender.Addr().String(), conn.LocalAddr().String())
	assert.Equal(t, client.LocalAddr().String(), conn.RemoteAddr().String())
	assert.Equal(t, 15, option(t, conn, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
	assert.Equal(t, 1, option(t, conn, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	assert.Equal(t, 1, option(t, conn, unix.IPPROTO_TCP, unix.TCP_NODELAY))
}

// TestMultiListenerErrors of bad use.
func TestMultiListenerErrors(t *testing.T) {
	t.Parallel()
	m := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	other := multi(t, "tcp", "127.0.0.1:0", reuseport.WatchExclusive)
	watch(t, m, other)
	for _, of := range []*reuseport.MultiListener{m, other} {
		lent, err := of.Lend(0)
		require.NoError(t, err)
		_, err = m.Watch(lent)
		require.ErrorIs(t, err, os.ErrExist, "its own, and one that it watches")
	}
	require.NoError(t, m.Close())
	require.NoError(t, m.Close(), "twice")
	lent, err := other.Lend(0)
	require.NoError(t, err)
	_, err = m.Watch(lent)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = m.Lend(0)
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestMultiListenerDeadline(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			m := multi(t, "tcp", "127.0.0.1:0", mode)
			watch(t, m, multi(t, "tcp", "127.0.0.1:0", mode))
			require.NoError(t, m.SetDeadline(time.Now().Add(time.Millisecond)))
			_, err := m.Accept()
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var opError *net.OpError
			require.ErrorAs(t, err, &opError)
			require.NoError(t, m.SetDeadline(time.Time{}))
			dial(t, m.Addr().String())
			conn, err := m.Accept()
			require.NoError(t, err)
			conn.Close()
			closed := make(chan error, 1)
			go func() { // ends with Close
				_, err := m.Accept()
				closed <- err
			}()
			require.NoError(t, m.Close())
			require.ErrorIs(t, <-closed, net.ErrClosed)
			_, err = m.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}
