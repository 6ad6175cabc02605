package reuseport_test

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

func listenersOf(t *testing.T, network, address string) []reuseport.Listener {
	t.Helper()
	found, err := reuseport.Listeners(t.Context(), network, address)
	require.NoError(t, err)
	return found
}

// asListeners is what Listeners should return for them.
func asListeners(t *testing.T, members []*net.TCPListener) []reuseport.Listener {
	t.Helper()
	var want []reuseport.Listener
	for _, l := range members {
		ino, err := reuseport.Inode(l)
		require.NoError(t, err)
		addr := netip.MustParseAddrPort(l.Addr().String())
		want = append(want, reuseport.Listener{
			Inode: ino,
			UID:   os.Geteuid(),
			Addr:  netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port()),
		})
	}
	slices.SortFunc(want, func(a, b reuseport.Listener) int { return cmp.Compare(a.Inode, b.Inode) })
	return want
}

func TestListeners(t *testing.T) {
	t.Parallel()
	tests := []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"},
		{"tcp4", ":0"},
		{"tcp6", ":0"},
		{"tcp", ":0"},
		{"tcp", "[::]:0"},
		{"tcp", "[::1]:0"},
		{"tcp6", "[::1]:0"},
	}
	if address, ok := linkLocal(t); ok {
		tests = append(tests, struct{ network, address string }{"tcp", address})
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			t.Parallel()
			members, _ := kind{network: tt.network, address: tt.address}.members(t, 3)
			held := reserveBeside(t, tt.network, members[0].Addr().String())
			address := members[0].Addr().String()
			assert.Equal(t, asListeners(t, members), listenersOf(t, tt.network, address))
			require.NoError(t, members[1].Close())
			members = slices.Delete(members, 1, 2)
			assert.Equal(t, asListeners(t, members), listenersOf(t, tt.network, held.Addr().String()))
		})
	}
}

// Groups that overlap are others: the kernel prefers the most specific address.
func TestListenersOfOneGroupOnly(t *testing.T) {
	t.Parallel()
	dual := listen(t, "tcp", ":0")
	port := strconv.Itoa(dual.Addr().(*net.TCPAddr).Port)
	ipv4 := listen(t, "tcp4", ":"+port)
	loopback4 := listen(t, "tcp", "127.0.0.1:"+port)
	loopback6 := listen(t, "tcp", "[::1]:"+port)
	for _, tt := range []struct {
		network, host string
		member        *net.TCPListener
	}{
		{"tcp", "", dual},
		{"tcp", "[::]", dual},
		{"tcp4", "", ipv4},
		{"tcp4", "0.0.0.0", ipv4},
		{"tcp", "127.0.0.1", loopback4},
		{"tcp", "[::1]", loopback6},
		{"tcp6", "[::1]", loopback6},
	} {
		got := listenersOf(t, tt.network, tt.host+":"+port)
		assert.Equal(t, asListeners(t, []*net.TCPListener{tt.member}), got, "%s %s", tt.network, tt.host)
	}
	assert.Empty(t, listenersOf(t, "tcp6", ":"+port), "only IPv6")
	assert.Empty(t, listenersOf(t, "tcp", ":0"))
	assert.Len(t, ownersOf(t, "tcp", ":"+port), 4)
}

func TestIntegrationListenersOfAnotherUID(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	var found []reuseport.Listener
	var err error
	asNobody(t, func() { found, err = reuseport.Listeners(t.Context(), "tcp", l.Addr().String()) })
	require.NoError(t, err)
	// The thread has another uid; os.Geteuid asks for the thread's own.
	assert.Empty(t, found)
}

func TestInodeErrors(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	want := inodeOf(t, l)
	got, err := reuseport.Inode(l)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	l.Close()
	_, err = reuseport.Inode(l)
	assert.ErrorIs(t, err, net.ErrClosed)
}

func BenchmarkListeners(b *testing.B) {
	l, err := reuseport.Listen(b.Context(), "tcp", "127.0.0.1:0", reuseport.Options{})
	require.NoError(b, err)
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reuseport.Listeners(b.Context(), "tcp", l.Addr().String()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInode(b *testing.B) {
	l, err := reuseport.Listen(b.Context(), "tcp", "127.0.0.1:0", reuseport.Options{})
	require.NoError(b, err)
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reuseport.Inode(l); err != nil {
			b.Fatal(err)
		}
	}
}
