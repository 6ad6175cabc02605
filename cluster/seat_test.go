package cluster

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/serve"
)

// TestExpectationEnds: a master that has given a node up, as it does not answer in time, does not tell it to forget. A client
// that has the port of the question then must not be taken for it.
func TestExpectationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		one := &seat{listener: serve.NewAcceptor(l)}
		defer one.listener.Close()
		s := newSeats(Options{})
		source := netip.MustParseAddrPort("127.0.0.1:1")
		s.expect(one, source)
		came := one.listener.Expect(source)
		assert.Equal(t, came, s.awaited[source].came, "it is expected")
		told := make(chan error, 1)
		go func() { told <- s.await(t.Context(), source) }() // ends when the question is forgotten
		time.Sleep(callTimeout + 1)
		synctest.Wait()
		assert.NotEqual(t, came, one.listener.Expect(source), "it is not expected any more")
		require.Error(t, <-told)
		assert.False(t, s.forget(one, source), "it has not come")
	})
}
