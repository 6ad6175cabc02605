package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
)

// solo steers the group of one node, which is alone, and notes what it is asked.
type solo struct {
	protocol.Steerer // panics
	*Listeners
	epoch    int     // 0: connections cannot be steered away
	errs     []error // of the first joins
	stays    error   // of leave
	excludes error   // of exclude
	then     func()  // before one of them fails
	asked    []string
}

func (s *solo) Join(ctx context.Context, key portgroup.Key) error {
	s.asked = append(s.asked, "join")
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return err
	}
	_, err := s.Open(ctx, key, key.Address)
	return err
}

func (s *solo) Exclude(context.Context, portgroup.Key) (epoch int, later bool, err error) {
	s.asked = append(s.asked, "exclude")
	if s.excludes != nil {
		s.then()
	}
	return s.epoch, false, s.excludes
}

func (s *solo) Leave(ctx context.Context, key portgroup.Key, _ int) (again bool, err error) {
	s.asked = append(s.asked, "leave")
	if s.stays != nil {
		if s.then != nil {
			s.then()
		}
		return false, s.stays
	}
	return false, s.Shut(ctx, key)
}

func TestRejoin(t *testing.T) {
	failed := errors.New("test")
	for name, c := range map[string]struct {
		solo
		asked []string
		moves bool
	}{
		"":                    {solo{epoch: 1}, []string{"exclude", "leave", "join"}, true},
		"the master is gone":  {solo{epoch: 1, errs: []error{failed, failed}}, []string{"exclude", "leave", "join", "join", "join"}, true},
		"nothing is steered":  {solo{}, []string{"exclude", "join"}, false},
		"it may not leave":    {solo{epoch: 1, stays: failed}, []string{"exclude", "leave", "join"}, false},
		"it stays left aside": {solo{epoch: 1, stays: failed, errs: []error{failed}}, []string{"exclude", "leave", "join", "join"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, steerer := New(false, nil), c.solo
			steerer.Listeners = l
			l.SteerBy(&steerer)
			key := portgroup.Key{Network: "tcp", Address: "127.0.0.1:0"}
			_, err := l.Open(t.Context(), key, key.Address)
			require.NoError(t, err)
			before, err := l.Get(key)
			require.NoError(t, err)
			accepted := servetest.AcceptAll(t, before)
			before.rejoin()
			after, err := l.Get(key)
			require.NoError(t, err)
			assert.Same(t, before.Acceptor, after.Acceptor)
			assert.Equal(t, c.moves, before.inode != after.inode)
			assert.Equal(t, c.asked, steerer.asked)
			require.NoError(t, servetest.Visit(after.Addr()))
			require.NoError(t, after.Poke(t.Context()))
			assert.EqualValues(t, 1, accepted.Load())
			require.NoError(t, l.Close())
			after.rejoin() // does nothing any more
			assert.Error(t, servetest.Visit(after.Addr()))
		})
	}
}

// TestExpectationEnds: a master that has given a node up, as it does not answer in time, does not tell it to forget. A client
// that has the port of the probe then must not be taken for it.
func TestExpectationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		one := &Listener{Acceptor: serve.NewAcceptor(socket)}
		defer one.Close()
		l, port, source := New(false, nil), portgroup.Key{Network: "tcp"}, netip.MustParseAddrPort("127.0.0.1:1")
		l.open[port] = one
		require.NoError(t, l.Expect(t.Context(), port, source))
		arrival := one.Expect(source)
		assert.Same(t, arrival, l.expected[source].arrival, "it is expected")
		told := make(chan error, 1)
		go func() { // ends with Forget
			_, err := l.Await(t.Context(), port, source)
			told <- err
		}()
		time.Sleep(expectTimeout + 1)
		synctest.Wait()
		assert.NotSame(t, arrival, one.Expect(source), "it is not expected any more")
		require.Error(t, <-told)
		forgotten, err := l.Forget(t.Context(), port, source)
		require.NoError(t, err)
		assert.False(t, forgotten, "it has not come")
	})
}

// TestLeaveWithoutAMaster: a master may be gone before a node that it has excluded has left. No later connection is lost.
func TestLeaveWithoutAMaster(t *testing.T) {
	for name, c := range map[string]solo{
		"from the beginning": {excludes: errors.New("test")},
		"at the end":         {epoch: 1, stays: errors.New("test")},
	} {
		t.Run(name, func(t *testing.T) {
			l, steerer, log := New(false, nil), c, new(bytes.Buffer)
			steerer.Listeners = l
			l.SteerBy(&steerer)
			l.BelongTo(Node{Logger: slog.New(slog.NewTextHandler(log, nil))})
			key := portgroup.Key{Network: "tcp", Address: "127.0.0.1:0"}
			_, err := l.Open(t.Context(), key, key.Address)
			require.NoError(t, err)
			one, err := l.Get(key)
			require.NoError(t, err)
			address := one.Addr().String()
			var client net.Conn
			steerer.then = func() {
				client, err = net.Dial("tcp", address)
				require.NoError(t, err)
			}
			done, left := make(chan struct{}), make(chan error, 1)
			t.Cleanup(func() { close(done) })
			go func() { left <- l.Leave(t.Context(), done, func() {}) }() // ends when the server accepts
			time.Sleep(50 * time.Millisecond)                             // a Leave that does not wait closes the listener meanwhile
			servetest.AcceptAll(t, one)
			require.NoError(t, <-left)
			defer client.Close()
			got, err := io.ReadAll(client)
			require.NoError(t, err)
			assert.Equal(t, client.LocalAddr().String(), string(got))
			assert.Empty(t, log.String(), "nothing is said of losses")
		})
	}
}
