package cluster

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
)

// environment is one that a notifier takes its variables from.
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
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(longest)))
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
		assert.Equal(t, []string{"NOTIFY_SOCKET=" + address}, n.environ())

		require.NoError(t, n.ready("3 of 3\nworkers"))
		assert.Equal(t, "READY=1\nSTATUS=3 of 3 workers", receive())
		require.NoError(t, n.reloading())
		var now int64
		message := receive()
		if runtime.GOOS == "linux" {
			_, err = fmt.Sscanf(message, "RELOADING=1\nMONOTONIC_USEC=%d", &now)
			require.NoError(t, err, message)
			assert.InDelta(t, monotonic.Now().Microseconds(), now, float64(longest.Microseconds()))
		} else {
			assert.Equal(t, "RELOADING=1", message)
		}
		require.NoError(t, n.status("reloading slot 2"))
		assert.Equal(t, "STATUS=reloading slot 2", receive())
		require.NoError(t, n.mainPID(17))
		assert.Equal(t, "MAINPID=17", receive())
		require.NoError(t, n.stopping())
		assert.Equal(t, "STOPPING=1", receive())
		n.startWatchdog(func() bool { panic("nobody wants to know") }, nil)
		n.close()
	}
}

func TestNotifyWithoutAManager(t *testing.T) {
	n, err := newNotifier(environment{}.take)
	require.NoError(t, err)
	require.NoError(t, n.ready(""))
	require.NoError(t, n.reloading())
	require.NoError(t, n.stopping())
	n.startWatchdog(func() bool { panic("nobody wants to know") }, nil)
	n.close()
	assert.Empty(t, n.environ())
}

func TestNotifyOfAManagerThatIsGone(t *testing.T) {
	n, err := newNotifier(environment{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "gone")}.take)
	require.NoError(t, err)
	err = n.ready("")
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
			require.NoError(t, n.ready(""), "it does nothing")
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
		assert.Equal(t, []string{"NOTIFY_SOCKET=/run/notify", "WATCHDOG_USEC=10000000"}, n.environ())
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
		n.startWatchdog(alive.Load, func(err error) { failures = append(failures, err) })
		time.Sleep(11 * time.Second)
		synctest.Wait()
		alive.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n.close()
		n.close() // twice does no harm
		assert.Equal(t, []time.Duration{0, 5 * time.Second, 10 * time.Second}, signs)
		require.Len(t, failures, 1)
		assert.ErrorIs(t, failures[0], broken)
	})
}

// TestWatchdogThatIsStuck: what does not answer is not alive, and does not keep the node from ending.
func TestWatchdogThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNotifier(environment{"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "10000000"}.take)
		require.NoError(t, err)
		n.write = func(message string) error {
			assert.Fail(t, "a sign of life", message)
			return nil
		}
		stuck := make(chan struct{})
		n.startWatchdog(func() bool {
			<-stuck
			return false
		}, nil)
		begin := time.Now()
		n.close()
		assert.Equal(t, notifyTimeout, time.Since(begin))
		close(stuck)
	})
}

func TestNotifyStatusIsOneLine(t *testing.T) {
	assert.Equal(t, "STATUS=a  READY=1 b", statusLine("a\r\nREADY=1\x00b"))
	assert.NotContains(t, statusLine("\n"), "\n")
}
