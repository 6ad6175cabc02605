package peer

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

const nobody = 65534

// asNobody runs f as another user, in a thread that ends with it, and lets that user into the directory.
func asNobody(t *testing.T, d *rendezvous.Directory, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("cannot become another user: run the tests as root")
	}
	for path := d.Path(); path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		require.NoError(t, os.Chmod(path, 0o777))
	}
	done := make(chan struct{})
	go func() { // ended by f, which asNobody waits for
		defer close(done)
		runtime.LockOSThread() // and never unlocked, so that no other goroutine gets this thread
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody)
		if assert.Zero(t, errno) {
			f()
		}
	}()
	<-done
}

func TestIntegrationConnectionOfAnotherUser(t *testing.T) {
	d := openTemp(t)
	log := newTestLog()
	m := joinTest(t, d, Options{Self: Info{ID: 1}, Logger: log.logger()})
	path := filepath.Join(d.Path(), m.self.node().SocketName())
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chmod(path, 0o777))
	}
	var conn net.Conn
	var err error
	asNobody(t, d, func() {
		conn, err = net.Dial("unix", path)
	})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "it is closed at once")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	log.waitForError(t, "belongs to uid 65534, and we are uid 0")
}

func TestIntegrationListenerOfAnotherUser(t *testing.T) {
	d := openTemp(t)
	n := node{ID: 5, Incarnation: rendezvous.NewIncarnation()}
	publishSilent(t, d, n)
	require.NoError(t, os.Remove(filepath.Join(d.Path(), n.SocketName())))
	var listener net.Listener
	var err error
	asNobody(t, d, func() {
		listener, err = net.Listen("unix", filepath.Join(d.Path(), n.SocketName()))
	})
	require.NoError(t, err)
	defer listener.Close()
	log := newTestLog()
	joinTest(t, d, Options{Self: Info{ID: 1}, Logger: log.logger()}, func(*Stream) {
		t.Error("a stream to another user")
	})
	assert.Equal(t, n.String(), log.waitForError(t, "belongs to uid 65534, and we are uid 0").Peer)
}

// A full backlog answers EAGAIN at once, whatever the time-out: the dialer tries again until there is room.
func TestFullBacklog(t *testing.T) {
	d := openTemp(t)
	info := Info{Cluster: "test", ID: 5, Incarnation: rendezvous.NewIncarnation()}
	publishSilent(t, d, info.node())
	require.NoError(t, os.Remove(filepath.Join(d.Path(), info.node().SocketName())))
	listener := listenWithoutBacklog(t, d, info.node().SocketName())
	var queued []net.Conn
	var err error
	for err == nil {
		var conn net.Conn
		if conn, err = d.Dial(info.node()); err == nil {
			queued = append(queued, conn)
		}
	}
	require.ErrorIs(t, err, unix.EAGAIN)

	log := newTestLog()
	joinTest(t, d, Options{Self: Info{ID: 1}, Logger: log.logger()})
	assert.Equal(t, info.node().String(), log.waitForError(t, unix.EAGAIN.Error()).Peer)
	for _, conn := range queued {
		accepted, err := listener.Accept()
		require.NoError(t, err)
		require.NoError(t, errors.Join(conn.Close(), accepted.Close()))
	}
	conn, err := listener.Accept()
	require.NoError(t, err)
	_, err = conn.Write([]byte(answerOf(t, info)))
	require.NoError(t, err)
	for said := ""; !strings.Contains(said, `{"streams":{}}`); { // the hello, behind the request
		part := make([]byte, 1<<10)
		n, err := conn.Read(part)
		require.NoError(t, err)
		said += string(part[:n])
	}
	require.NoError(t, conn.Close())
}

// listenWithoutBacklog listens with a queue of one. Package net takes the longest that the system allows.
func listenWithoutBacklog(t *testing.T, d *rendezvous.Directory, name string) net.Listener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(d.Path(), name)}))
	require.NoError(t, unix.Listen(fd, 0))
	listener, err := net.FileListener(file)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, listener.Close()) })
	return listener
}
