package kernel

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
	"github.com/multinode-go/multinode/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// polled returns a poller of a Unix socket, and the other end.
func polled(t *testing.T) (p *Poller, socket, other net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer l.Close()
	other, err = net.Dial("unix", l.Addr().String())
	require.NoError(t, err)
	socket, err = l.Accept()
	require.NoError(t, err)
	p, err = NewPoller(socket)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Close()
		socket.Close()
		other.Close()
	})
	return p, socket, other
}

// wait returns the result of a Wait that is called now.
func wait(p *Poller) <-chan bool {
	result := make(chan bool, 1)
	go func() { result <- p.Wait() }()
	return result
}

func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(await.Limit):
		t.Fatal("nothing has come")
		panic("unreachable")
	}
}

func TestPollerSeesWhatComes(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(p *Poller, other net.Conn){
		"after":  func(p *Poller, other net.Conn) { p.Arm(); _, _ = other.Write([]byte{1}) },
		"before": func(p *Poller, other net.Conn) { _, _ = other.Write([]byte{1}); p.Arm() },
		"end":    func(p *Poller, other net.Conn) { p.Arm(); _ = other.Close() },
	} {
		for _, early := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p, _, other := polled(t)
				if early {
					arrange(p, other)
				}
				result := wait(p)
				if !early {
					arrange(p, other)
				}
				assert.True(t, next(t, result))
				result = wait(p) // it is not armed any more
				p.Wake()
				assert.False(t, next(t, result))
			})
		}
	}
}

func TestPollerIsDisarmed(t *testing.T) {
	t.Parallel()
	p, _, other := polled(t)
	require.True(t, p.Arm())
	p.Disarm()
	_, err := other.Write([]byte{1})
	require.NoError(t, err)
	for range 3 {
		p.Wake()
		assert.False(t, p.Wait())
	}
}

func TestPollerOfAClosedSocket(t *testing.T) {
	t.Parallel()
	p, socket, _ := polled(t)
	require.NoError(t, socket.Close())
	assert.False(t, p.Arm())
	p.Disarm()
	_, err := NewPoller(socket)
	require.ErrorIs(t, err, net.ErrClosed)
	left, right := net.Pipe()
	_, err = NewPoller(left)
	require.Error(t, err)
	left.Close()
	right.Close()
}

func TestTicker(t *testing.T) {
	t.Parallel()
	ticker, err := NewTicker()
	require.NoError(t, err)
	ticks, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker.Run(func() { ticks <- struct{}{} })
	}()
	ticker.Set(time.Millisecond)
	for range 3 {
		next(t, ticks)
	}
	ticker.Set(0)
	go func() {
		for {
			select {
			case <-ticks: // one that was under way
			case <-done:
				return
			}
		}
	}()
	ticker.Close()
	ticker.Set(time.Millisecond)
	next(t, done)
}
