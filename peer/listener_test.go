package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

// pair returns the meshes of two members, node 0 and node 1.
func pair(t *testing.T) (low, high *Mesh) {
	t.Helper()
	d := openTemp(t)
	low = joinTest(t, d, Options{Self: Info{ID: 0}})
	high = joinTest(t, d, Options{Self: Info{ID: 1}})
	require.NoError(t, low.census.awaitAll(t.Context()))
	require.NoError(t, high.census.awaitAll(t.Context()))
	return low, high
}

// listenTest listens for streams "x", and closes the listener after the test.
func listenTest(t *testing.T, m *Mesh) *Listener {
	t.Helper()
	l, err := m.Listen("x")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

// Either side dials, and as often as it wants.
func TestDialBothWays(t *testing.T) {
	low, high := pair(t)
	for _, way := range []struct{ from, to *Mesh }{{low, high}, {high, low}} {
		l := listenTest(t, way.to)
		for range 3 {
			dialed, err := way.from.Dial(t.Context(), way.to.self.ID, "x")
			require.NoError(t, err)
			accepted, err := acceptStream(l)
			require.NoError(t, err)
			assert.Equal(t, "x", dialed.name)
			assert.Equal(t, "x", accepted.name)
			assert.Equal(t, way.to.self, dialed.Peer())
			assert.Equal(t, way.from.self, accepted.Peer())
			_, err = dialed.Write([]byte("question"))
			require.NoError(t, errors.Join(err, dialed.CloseWrite()))
			got, err := io.ReadAll(accepted)
			require.NoError(t, err)
			assert.Equal(t, "question", string(got))
			require.NoError(t, errors.Join(dialed.Close(), accepted.Close()))
		}
		assert.Equal(t, "unix", l.Addr().Network())
		assert.Equal(t, accepted(t, way.from, l).RemoteAddr(), socketAddr(way.from.dir, way.from.self))
	}
}

// acceptStream is Accept with the type of what it returns.
func acceptStream(l *Listener) (*Stream, error) {
	conn, err := l.Accept()
	stream, _ := conn.(*Stream)
	return stream, err
}

// accepted dials and returns the other end.
func accepted(t *testing.T, from *Mesh, l *Listener) *Stream {
	t.Helper()
	_, err := from.Dial(t.Context(), l.home.self.ID, l.name)
	require.NoError(t, err)
	stream, err := acceptStream(l)
	require.NoError(t, err)
	return stream
}

func TestDialNobody(t *testing.T) {
	low, high := pair(t)
	for _, id := range []int{low.self.ID, 7, -1} {
		_, err := low.Dial(t.Context(), id, "x")
		require.ErrorIs(t, err, ErrNoPeer)
		require.ErrorContains(t, err, `peer: dial stream "x" of node `)
	}
	_, err := low.Dial(t.Context(), high.self.ID, "x")
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, RefusedError{Peer: high.self, Stream: "x", Reason: `node 1 wants no stream "x" with node 0`}, *refused)
	_, err = low.Dial(t.Context(), high.self.ID, "X")
	require.ErrorContains(t, err, "lower-case letters")

	require.NoError(t, low.Close())
	_, err = low.Dial(t.Context(), high.self.ID, "x")
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = low.Listen("x")
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestDialSolo(t *testing.T) {
	m := Solo(Info{Cluster: "test"})
	l := listenTest(t, m)
	assert.Empty(t, l.Addr().String())
	_, err := m.Dial(t.Context(), 0, "x")
	require.ErrorIs(t, err, ErrNoPeer)
	require.NoError(t, m.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

// A name is for Listen or for OnStream, once in a node.
func TestNamesInUse(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 1}})
	onStream := func() error { _, err := m.OnStream("a", nil, echo); return err }
	listen := func() error { _, err := m.Listen("b"); return err }
	require.NoError(t, errors.Join(onStream(), listen()))
	for _, err := range []error{onStream(), listen()} {
		require.ErrorContains(t, err, "in use")
	}
	_, err := m.OnStream("b", nil, echo)
	require.ErrorContains(t, err, "in use")
	_, err = m.ListenWebSocket("b")
	require.ErrorContains(t, err, "in use")
	_, err = m.Listen("a")
	require.ErrorContains(t, err, "in use")
	_, err = m.Listen(linkStream)
	require.ErrorContains(t, err, "in use")
	_, err = m.Listen("B")
	require.ErrorContains(t, err, "lower-case letters")
}

// A backlog that is full makes Dial wait, for as long as its context.
func TestDialFullBacklog(t *testing.T) {
	low, high := pair(t)
	l := listenTest(t, high)
	for range maxBacklog {
		_, err := low.Dial(t.Context(), 1, "x")
		require.NoError(t, err)
	}
	inVain(t, `128 streams "x" are waiting to be accepted`, func(ctx context.Context) error {
		_, err := low.Dial(ctx, 1, "x")
		return err
	})

	dialed := make(chan error, 1)
	go func() { // ended by an Accept
		_, err := low.Dial(t.Context(), 1, "x")
		dialed <- err
	}()
	accepting := make(chan struct{})
	go func() { // ended by Close of the listener; one is not enough, if the Dial that has given up has taken that place
		defer close(accepting)
		for err := error(nil); err == nil; {
			_, err = l.Accept()
		}
	}()
	require.NoError(t, receive(t, dialed))
	require.NoError(t, l.Close())
	<-accepting
}

func TestListenerClose(t *testing.T) {
	low, high := pair(t)
	l := listenTest(t, high)
	taken := accepted(t, low, l)
	waiting, err := low.Dial(t.Context(), 1, "x")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(l.streams) == 1 }, limit, time.Millisecond)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "again")

	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "what nobody has accepted is closed")
	require.NoError(t, taken.SetReadDeadline(time.Now()))
	_, err = taken.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "what was accepted stays open")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	var refused *RefusedError
	_, err = low.Dial(t.Context(), 1, "x")
	require.ErrorAs(t, err, &refused)
	accepted(t, low, listenTest(t, high)) // the name is free again
}

func TestAcceptEnds(t *testing.T) {
	for name, end := range map[string]func(*Mesh, *Listener) error{
		"by Close of the listener": func(_ *Mesh, l *Listener) error { return l.Close() },
		"by Close of the mesh":     func(m *Mesh, _ *Listener) error { return m.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			m := joinTest(t, openTemp(t), Options{Self: Info{ID: 1}})
			l := listenTest(t, m)
			ended := make(chan error, 1)
			go func() { // ended by end
				_, err := l.Accept()
				ended <- err
			}()
			require.NoError(t, end(m, l))
			require.ErrorIs(t, receive(t, ended), net.ErrClosed)
		})
	}
}

// The streams that wait for Accept are closed with the mesh.
func TestCloseWithBacklog(t *testing.T) {
	low, high := pair(t)
	l := listenTest(t, high)
	s, err := low.Dial(t.Context(), 1, "x")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(l.streams) == 1 }, limit, time.Millisecond)
	require.NoError(t, high.Close())
	_, err = s.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// A Dial to a peer that does not answer waits until its context is done.
func TestDialEndsWithItsContext(t *testing.T) {
	d := openTemp(t)
	n := node{ID: 5, Incarnation: rendezvous.NewIncarnation()}
	p, err := d.Publish(n)
	require.NoError(t, err)
	m := joinTest(t, openAt(t, d.Path()), Options{Self: Info{ID: 9}})
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { // ended by cancel
		_, _, err := m.streams.dialer.dial(ctx, n, "x")
		ended <- err
	}()
	conn, err := p.Listener().Accept()
	require.NoError(t, err)
	cancel(errors.New("had enough"))
	require.ErrorContains(t, receive(t, ended), "had enough")
	require.NoError(t, errors.Join(conn.Close(), p.Withdraw(), p.Listener().Close()))
}

// A node that is no member yet, or not any more, gets no stream.
func TestDialOfNoMember(t *testing.T) {
	m := joinTest(t, openTemp(t), Options{Self: Info{ID: 2}})
	listenTest(t, m)
	answer := exchange(t, m, rawRequest(t, "/stream/x", requestHeader()))
	assert.Contains(t, answer, "503 Service Unavailable")
	assert.Contains(t, answer, "node 1 is no member for node 2")
}

// A peer that dies while it is dialed is no member soon after.
func TestDialTheDying(t *testing.T) {
	d := openTemp(t)
	m := joinTest(t, d, Options{Self: Info{ID: 0}})
	c := child.Start(t, childJob{Directory: d.Path(), Join: true, ID: 1})
	require.NoError(t, m.census.awaitAll(t.Context()))
	var refused *RefusedError
	_, err := m.Dial(t.Context(), 1, "none")
	require.ErrorAs(t, err, &refused)
	c.End()
	for errors.As(err, &refused) {
		_, err = m.Dial(t.Context(), 1, "none")
	}
	require.ErrorIs(t, err, ErrNoPeer)
}
