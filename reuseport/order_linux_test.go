package reuseport_test

import (
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

// The kernel, asked for each index after each of many joins and leaves, has the same order.
func TestOrderIsTheKernels(t *testing.T) {
	t.Parallel()
	for _, k := range kinds[:3] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			const steps, most = 60, 7
			churn(t, k, steps, most)
		})
	}
}

func churn(t *testing.T, k kind, steps, most int) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	first := listen(t, k.network, k.address)
	order := reuseport.NewOrder(first)
	for range steps {
		if order.Len() == 1 || order.Len() < most && r.IntN(2) == 0 {
			order.Join(listen(t, k.network, order.Members()[0].Addr().String()))
		} else {
			leaves := order.Members()[r.IntN(order.Len())]
			leave(t, leaves, r.IntN(2) == 0)
			require.True(t, order.Leave(leaves))
		}
		for i, member := range order.Members() {
			askIndex(t, order.Members()[0], i, member)
		}
	}
}

// leave closes a listener, or shuts it down, in which case its descriptor stays open until the end of the test.
func leave(t *testing.T, l *net.TCPListener, shutdown bool) {
	t.Helper()
	if !shutdown {
		require.NoError(t, l.Close())
		return
	}
	c, err := l.SyscallConn()
	require.NoError(t, err)
	var errno error
	require.NoError(t, c.Control(func(fd uintptr) { errno = unix.Shutdown(int(fd), unix.SHUT_RD) }))
	require.NoError(t, errno)
}

// askIndex requires that a member sits at an index.
func askIndex(t *testing.T, attachTo *net.TCPListener, index int, member *net.TCPListener) {
	t.Helper()
	q := ask(t, attachTo)
	require.NoError(t, reuseport.Attach(attachTo, reuseport.Steering{
		Mark: &reuseport.Mark{Port: q.Port(), Index: index},
	}))
	require.NoError(t, q.Connect(t.Context()))
	requireLength(t, member, 1)
	c, err := member.Accept()
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, q.Source(), addrPort(t, c.RemoteAddr()))
	require.NoError(t, q.Close())
}
