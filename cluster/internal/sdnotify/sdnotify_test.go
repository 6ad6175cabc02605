package sdnotify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/monotonic"
	"github.com/multinode-go/multinode/internal/await"
)

// environment holds the variables of a notifier.
type environment map[string]string

func (e environment) take(name string) string {
	value := e[name]
	delete(e, name)
	return value
}

// listenNotify is the service manager's end.
func listenNotify(t *testing.T, address string) (receive func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: address})
	if err != nil {
		t.Skip("no datagrams on Unix sockets here: ", err)
	}
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return func() string {
		t.Helper()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(await.Limit)))
		message := make([]byte, 1024)
		n, err := conn.Read(message)
		require.NoError(t, err)
		return string(message[:n])
	}
}

func TestNotify(t *testing.T) {
	addresses := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		addresses = append(addresses, "@multinode-test-"+strconv.Itoa(os.Getpid()))
	}
	for _, address := range addresses {
		receive := listenNotify(t, address)
		env := environment{"NOTIFY_SOCKET": address, "OTHER": "stays"}
		n, err := newNotifier(env.take)
		require.NoError(t, err)
		assert.Equal(t, environment{"OTHER": "stays"}, env)
		assert.True(t, n.HasManager())
		assert.Equal(t, []string{"NOTIFY_SOCKET=" + address}, n.Environ())

		require.NoError(t, n.Ready("3 of 3\nworkers"))
		assert.Equal(t, "READY=1\nSTATUS=3 of 3 workers", receive())
		require.NoError(t, n.Reloading())
		message := receive()
		if runtime.GOOS == "linux" {
			var now int64
			_, err = fmt.Sscanf(message, "RELOADING=1\nMONOTONIC_USEC=%d", &now)
			require.NoError(t, err, message)
			assert.InDelta(t, monotonic.Now().Microseconds(), now, float64(await.Limit.Microseconds()))
		} else {
			assert.Equal(t, "RELOADING=1", message)
		}
		require.NoError(t, n.Status("reloading slot 2"))
		assert.Equal(t, "STATUS=reloading slot 2", receive())
		require.NoError(t, n.MainPID(17))
		assert.Equal(t, "MAINPID=17", receive())
		require.NoError(t, n.Stopping())
		assert.Equal(t, "STOPPING=1", receive())
		n.StartWatchdog(func() bool { panic("no keep-alive is expected") }, nil)
		n.Close()
	}
}

func TestNotifyWithoutAManager(t *testing.T) {
	n, err := newNotifier(environment{}.take)
	require.NoError(t, err)
	require.NoError(t, n.Ready(""))
	require.NoError(t, n.Reloading())
	require.NoError(t, n.Stopping())
	n.StartWatchdog(func() bool { panic("no keep-alive is expected") }, nil)
	n.Close()
	assert.Empty(t, n.Environ())
	assert.False(t, n.HasManager())
}

func TestNotifyOfAManagerThatIsGone(t *testing.T) {
	n, err := newNotifier(environment{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "gone")}.take)
	require.NoError(t, err)
	err = n.Ready("")
	require.Error(t, err)
	assert.ErrorContains(t, err, "READY=1")
}

func TestNotifyVariables(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		address, usec, pid string
		interval           time.Duration
		err                error
	}{
		{address: "/run/notify", usec: "3000000", pid: self, interval: 3 * time.Second},
		{address: "/run/notify", usec: "3000000", interval: 3 * time.Second},
		{address: "/run/notify", usec: "3000000", pid: "1" + self},
		{address: "/run/notify", usec: "soon", err: strconv.ErrSyntax},
		{address: "/run/notify", usec: "-1", err: strconv.ErrRange},
		{address: "/run/notify", usec: "0", err: strconv.ErrRange},
		{address: "/run/notify", usec: "9223372036854775807", err: strconv.ErrRange},
		{address: "vsock:2:1234", err: errors.ErrUnsupported},
		{address: "notify", usec: "x", err: errors.ErrUnsupported},
	} {
		env := environment{"NOTIFY_SOCKET": c.address, "WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid}
		n, err := newNotifier(env.take)
		require.ErrorIs(t, err, c.err, "%+v", c)
		assert.Equal(t, c.interval, n.interval, "%+v", c)
		assert.Empty(t, env)
		if errors.Is(c.err, errors.ErrUnsupported) {
			require.NoError(t, n.Ready(""), "it does nothing")
		}
	}
}

func TestTakeVariable(t *testing.T) {
	t.Setenv("MULTINODE_TEST_TAKE", "it")
	assert.Equal(t, "it", takeVariable("MULTINODE_TEST_TAKE"))
	_, ok := os.LookupEnv("MULTINODE_TEST_TAKE")
	assert.False(t, ok)
}

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := environment{"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "10000000"}
		n, err := newNotifier(env.take)
		require.NoError(t, err)
		assert.Equal(t, []string{"NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=10000000"}, n.Environ())
		begin := time.Now()
		var signs []time.Duration
		var failures []error
		var alive atomic.Bool
		alive.Store(true)
		broken := errors.New("broken")
		n.write = func(message string) error {
			assert.Equal(t, "WATCHDOG=1", message)
			signs = append(signs, time.Since(begin))
			if len(signs) == 2 {
				return broken
			}
			return nil
		}
		n.StartWatchdog(alive.Load, func(err error) { failures = append(failures, err) })
		time.Sleep(11 * time.Second)
		synctest.Wait()
		alive.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.Close()
		n.Close() // twice does no harm
		assert.Equal(t, []time.Duration{0, 5 * time.Second, 10 * time.Second}, signs)
		require.Len(t, failures, 1)
		assert.ErrorIs(t, failures[0], broken)
	})
}

// TestWatchdogAfterClose: a service may stop in the moment in which it gets ready.
func TestWatchdogAfterClose(t *testing.T) {
	n, err := newNotifier(environment{"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "10000000"}.take)
	require.NoError(t, err)
	n.Close()
	n.StartWatchdog(func() bool { panic("no keep-alive is expected") }, nil)
}

// TestWatchdogThatIsStuck: what does not answer is not alive, and does not keep the node from ending.
func TestWatchdogThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNotifier(environment{"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "10000000"}.take)
		require.NoError(t, err)
		n.write = func(message string) error {
			assert.Fail(t, "a keep-alive", message)
			return nil
		}
		stuck := make(chan struct{})
		n.StartWatchdog(func() bool {
			<-stuck
			return false
		}, nil)
		begin := time.Now()
		n.Close()
		assert.Equal(t, timeout, time.Since(begin))
		close(stuck)
	})
}

func TestNotifyStatusIsOneLine(t *testing.T) {
	assert.Equal(t, "STATUS=a  READY=1 b", statusLine("a\r\nREADY=1\x00b"))
	assert.NotContains(t, statusLine("\n"), "\n")
}
