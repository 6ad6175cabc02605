package reuseport_test

import (
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

func reserveBeside(t *testing.T, network, address string) *reuseport.Reservation {
	t.Helper()
	r, err := reuseport.Rejoin(t.Context(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

func TestRejoin(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			members, client := k.members(t, 2)
			address := members[0].Addr().String()
			r := reserveBeside(t, k.network, address)
			assert.Equal(t, address, r.Addr().String())
			for _, l := range members {
				require.NoError(t, l.Close())
			}
			require.True(t, isHeld(t, k.network, address))
			_, err := net.DialTimeout("tcp", client, limit)
			require.ErrorIs(t, err, syscall.ECONNREFUSED, "it receives nothing")
			_, err = reuseport.Reserve(t.Context(), k.network, address)
			require.ErrorIs(t, err, syscall.EADDRINUSE)
			var lc net.ListenConfig
			lc.SetMultipathTCP(false)
			_, err = lc.Listen(t.Context(), k.network, address)
			require.ErrorIs(t, err, syscall.EADDRINUSE, "for those who do not share")
			members = []*net.TCPListener{listen(t, k.network, address), listen(t, k.network, address)}
			got, _ := spread(t, client, members)
			assert.NotContains(t, got, 0)
		})
	}
}

func TestRejoinOfNobody(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"free":       leftoverOfAGroup(t),
		"leftovers":  leftover(t, "tcp", "127.0.0.1:0"),
		"dual stack": leftover(t, "tcp", ":0"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reserveBeside(t, "tcp", address)
			listen(t, "tcp", r.Addr().String())
		})
	}
}

func leftoverOfAGroup(t *testing.T) string {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	client := dial(t, l.Addr().String())
	c := accept(t, l)
	require.NoError(t, l.Close())
	require.NoError(t, c.Close())
	client.Close()
	return l.Addr().String()
}

func TestRejoinRefuses(t *testing.T) {
	t.Parallel()
	unshared := ordinary(t, "tcp", "127.0.0.1:0")
	before := "127.0.0.1:0"
	for name, address := range map[string]string{
		"a server":                  unshared.Addr().String(),
		"a server, from everywhere": ":" + strconv.Itoa(unshared.Addr().(*net.TCPAddr).Port),
	} {
		_, err := reuseport.Rejoin(t.Context(), "tcp", address)
		require.ErrorIs(t, err, syscall.EADDRINUSE, name)
	}
	_, err := reuseport.Rejoin(t.Context(), "tcp", before)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = reuseport.Rejoin(t.Context(), "udp", before)
	assert.ErrorIs(t, err, net.UnknownNetworkError("udp"))
}

func TestIntegrationRejoinOfAnotherUID(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	var err error
	asNobody(t, func() { _, err = reuseport.Rejoin(t.Context(), "tcp", l.Addr().String()) })
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
}
