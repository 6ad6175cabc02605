package reuseport_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

func reserve(t *testing.T, network, address string) *reuseport.Reservation {
	t.Helper()
	r, err := reuseport.Reserve(t.Context(), network, address)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

// leftover returns an address on which a server has just closed its listener and, before its client did, a connection. The kernel
// keeps nothing of that while it has too many of them (net.ipv4.tcp_max_tw_buckets), so it is done until the port is held.
func leftover(t *testing.T, network, address string) string {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); {
		left := serveOnce(t, network, address)
		if isHeld(t, network, left) {
			return left
		}
	}
	require.Fail(t, "the kernel keeps no connection that was closed")
	return ""
}

// serveOnce closes a listener and, before its client does, a connection.
func serveOnce(t *testing.T, network, address string) string {
	t.Helper()
	server := ordinary(t, network, address)
	client := dial(t, server.Addr().String())
	c, err := server.Accept()
	require.NoError(t, err)
	require.NoError(t, server.Close())
	require.NoError(t, c.Close())
	_, err = io.ReadAll(client)
	require.NoError(t, err)
	require.NoError(t, client.Close())
	return server.Addr().String()
}

// isHeld tells whether a bind without SO_REUSEADDR fails.
func isHeld(t *testing.T, network, address string) bool {
	t.Helper()
	plain := net.ListenConfig{Control: setReuseAddr(0)}
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(t.Context(), network, address)
	if err == nil {
		l.Close()
		return false
	}
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	return true
}

func TestReserveThenListen(t *testing.T) {
	t.Parallel()
	tests := []struct{ network, address, client string }{
		{"tcp", "127.0.0.1:0", "127.0.0.1"},
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp", "localhost:0", "localhost"},
		{"tcp", "[::1]:0", "::1"},
		{"tcp6", "[::1]:0", "::1"},
		{"tcp", "[::ffff:127.0.0.1]:0", "127.0.0.1"},
		{"tcp", ":0", "127.0.0.1"},
		{"tcp", ":0", "::1"},
		{"tcp", "[::]:0", "127.0.0.1"},
		{"tcp", "0.0.0.0:0", "::1"},
		{"tcp4", ":0", "127.0.0.1"},
		{"tcp6", ":0", "::1"},
	}
	for _, tt := range tests {
		t.Run(tt.network+" "+tt.address+" from "+tt.client, func(t *testing.T) {
			t.Parallel()
			r := reserve(t, tt.network, tt.address)
			address := r.Addr().String()
			var members []*net.TCPListener
			for range 4 {
				members = append(members, listen(t, tt.network, address))
			}
			assert.Equal(t, members[0].Addr().String(), address, "Addr is that of a listener")
			// Each connection is accepted by a member, and the reservation gets none.
			got, dialed := spread(t, net.JoinHostPort(tt.client, strconv.Itoa(r.Addr().Port)), members)
			assert.NotContains(t, got, 0, "after %d connections", dialed)
		})
	}
}

func TestReserveReceivesNothing(t *testing.T) {
	t.Parallel()
	for name, address := range claimable(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reserve(t, "tcp", address)
			_, err := net.DialTimeout("tcp", r.Addr().String(), limit)
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
	}
}

func TestReserveRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, network, address, ask string
		owner                       func(t *testing.T, network, address string) net.Addr
	}{
		{"a server", "tcp", "127.0.0.1:0", "127.0.0.1", server},
		{"a server on all addresses", "tcp", ":0", "127.0.0.1", server},
		{"a server on one of all addresses", "tcp", "127.0.0.1:0", "", server},
		{"an IPv6 server", "tcp6", "[::1]:0", "::1", server},
		{"a group", "tcp", "127.0.0.1:0", "127.0.0.1", group},
		{"a dual-stack group", "tcp", ":0", "127.0.0.1", group},
		{"a reservation", "tcp", "127.0.0.1:0", "127.0.0.1", reservation},
		{"a dual-stack reservation", "tcp", ":0", "", reservation},
		{"a reservation over leftovers", "tcp", "127.0.0.1:0", "127.0.0.1", reservationOverLeftovers},
		{"a reservation over IPv6 leftovers", "tcp", "[::1]:0", "::1", reservationOverLeftovers},
		{"a reservation over a client", "tcp", "127.0.0.1:0", "127.0.0.1", reservationOverClient},
		{"a group over leftovers", "tcp", "127.0.0.1:0", "127.0.0.1", groupOverLeftovers},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr := tt.owner(t, tt.network, tt.address).(*net.TCPAddr)
			_, err := reuseport.Reserve(t.Context(), "tcp", net.JoinHostPort(tt.ask, strconv.Itoa(addr.Port)))
			requireInUse(t, err)
		})
	}
}

func server(t *testing.T, network, address string) net.Addr {
	t.Helper()
	return ordinary(t, network, address).Addr()
}

func group(t *testing.T, network, address string) net.Addr {
	t.Helper()
	return listen(t, network, address).Addr()
}

func reservation(t *testing.T, network, address string) net.Addr {
	t.Helper()
	return reserve(t, network, address).Addr()
}

func reservationOverLeftovers(t *testing.T, network, address string) net.Addr {
	t.Helper()
	return reserve(t, network, leftover(t, network, address)).Addr()
}

// reservationOverClient reserves the port of an outgoing connection.
func reservationOverClient(t *testing.T, network, address string) net.Addr {
	t.Helper()
	elsewhere := ordinary(t, network, address)
	local, err := net.ResolveTCPAddr(network, address)
	require.NoError(t, err)
	dialer := net.Dialer{LocalAddr: local, Control: setReuseAddr(1)}
	client, err := dialer.DialContext(t.Context(), network, elsewhere.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	return reserve(t, network, client.LocalAddr().String()).Addr()
}

func groupOverLeftovers(t *testing.T, network, address string) net.Addr {
	t.Helper()
	r := reserve(t, network, leftover(t, network, address))
	return listen(t, network, r.Addr().String()).Addr()
}

// requireInUse requires the error that net.Listen gives for a port that is held.
func requireInUse(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	var opErr *net.OpError
	require.ErrorAs(t, err, &opErr)
	require.Equal(t, "listen", opErr.Op)
	require.NotNil(t, opErr.Addr)
	var callErr *os.SyscallError
	require.ErrorAs(t, err, &callErr)
}

func TestReserveKeepsOthersOut(t *testing.T) {
	t.Parallel()
	for name, address := range claimable(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reserve(t, "tcp", address)
			var lc net.ListenConfig // with SO_REUSEADDR, as net always listens
			lc.SetMultipathTCP(false)
			_, err := lc.Listen(t.Context(), "tcp", r.Addr().String())
			require.ErrorIs(t, err, syscall.EADDRINUSE)
			listen(t, "tcp", r.Addr().String())
		})
	}
}

// A socket that is bound over leftovers and does not listen yet is not in the way, and can listen no more.
func TestReserveBeforeAnotherListens(t *testing.T) {
	t.Parallel()
	address := leftover(t, "tcp", "127.0.0.1:0")
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	port := int(netip.MustParseAddrPort(address).Port())
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))

	reserve(t, "tcp", address)
	require.ErrorIs(t, unix.Listen(fd, 1), syscall.EADDRINUSE)
	listen(t, "tcp", address)
}

// One of IPv4 and IPv6 can be held without the other.
func TestReserveOneFamily(t *testing.T) {
	t.Parallel()
	r := reserve(t, "tcp6", "[::]:0")
	port := strconv.Itoa(r.Addr().Port)
	reserve(t, "tcp4", "0.0.0.0:"+port)
}

func TestReserveOverLeftovers(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			held := leftover(t, "tcp", address)
			r := reserve(t, "tcp", held)
			assert.Equal(t, held, r.Addr().String())
			members := []*net.TCPListener{listen(t, "tcp", held), listen(t, "tcp", held)}
			got, dialed := spread(t, held, members)
			assert.NotContains(t, got, 0, "after %d connections", dialed)
		})
	}
}

// Connections that an earlier server has accepted and not yet closed do not count.
func TestReserveOverOpenConnections(t *testing.T) {
	t.Parallel()
	old := ordinary(t, "tcp", "127.0.0.1:0")
	client := dial(t, old.Addr().String())
	c, err := old.Accept()
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, old.Close())
	require.True(t, isHeld(t, "tcp", old.Addr().String()))

	reserve(t, "tcp", old.Addr().String())
	_, err = c.Write([]byte("alive"))
	require.NoError(t, err)
	_, err = io.ReadFull(client, make([]byte, len("alive")))
	assert.NoError(t, err)
}

// Not parallel with others, which could be given the port between two rounds.
func TestReserveRace(t *testing.T) {
	t.Run("free port", func(t *testing.T) {
		r := reserve(t, "tcp", "127.0.0.1:0")
		address := r.Addr().String()
		require.NoError(t, r.Close())
		for range 50 {
			race(t, address)
		}
	})
	t.Run("leftovers", func(t *testing.T) {
		for range 200 { // where bind alone decides, two win in about one of 4000 rounds
			race(t, leftover(t, "tcp", "127.0.0.1:0"))
		}
	})
}

// claimable returns addresses that Reserve claims in its two ways.
func claimable(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"free port": "127.0.0.1:0",
		"leftovers": leftover(t, "tcp", "127.0.0.1:0"),
	}
}

// race lets many reserve one port at once. One must win, and its group be able to listen.
func race(t *testing.T, address string) {
	t.Helper()
	const racers = 16
	var winner atomic.Pointer[reuseport.Reservation]
	var wins atomic.Int32
	start := make(chan struct{})
	var all sync.WaitGroup
	for range racers {
		all.Go(func() { // ends with Reserve
			<-start
			r, err := reuseport.Reserve(t.Context(), "tcp", address)
			if err != nil {
				assert.ErrorIs(t, err, syscall.EADDRINUSE)
				return
			}
			if wins.Add(1); !winner.CompareAndSwap(nil, r) {
				r.Close()
			}
		})
	}
	close(start)
	all.Wait()
	require.EqualValues(t, 1, wins.Load(), "winners")
	l, err := reuseport.Listen(t.Context(), "tcp", address, reuseport.Options{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, winner.Load().Close())
}

func TestReservationCloseKeepsTheGroup(t *testing.T) {
	t.Parallel()
	r := reserve(t, "tcp", "127.0.0.1:0")
	first := listen(t, "tcp", r.Addr().String())
	require.NoError(t, r.Close())
	require.NoError(t, r.Close(), "a second time")
	second := listen(t, "tcp", r.Addr().String())
	got, dialed := spread(t, r.Addr().String(), []*net.TCPListener{first, second})
	assert.NotContains(t, got, 0, "after %d connections", dialed)
}

func TestReservationCloseGivesThePortUp(t *testing.T) {
	for name, address := range claimable(t) {
		t.Run(name, func(t *testing.T) {
			r := reserve(t, "tcp", address)
			require.NoError(t, r.Close())
			ordinary(t, "tcp", r.Addr().String())
		})
	}
}

func TestReserveErrorLeavesNothingOpen(t *testing.T) {
	held := server(t, "tcp", "127.0.0.1:0").String()
	before := openDescriptors(t)

	_, err := reuseport.Reserve(t.Context(), "tcp", held)
	requireInUse(t, err)
	_, err = reuseport.Reserve(t.Context(), "tcp", "[fe80::1%nosuch]:0")
	require.ErrorContains(t, err, `unknown IPv6 zone "nosuch"`)
	_, err = reuseport.Reserve(t.Context(), "tcp", "192.0.2.1:0") // TEST-NET-1
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	_, err = reuseport.Reserve(t.Context(), "tcp", "127.0.0.1:http-but-not-quite")
	require.Error(t, err)

	assert.Equal(t, before, openDescriptors(t))
}

func TestReserveWithoutPermission(t *testing.T) {
	t.Parallel()
	first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	require.NoError(t, err)
	if start, err := strconv.Atoi(strings.TrimSpace(string(first))); err != nil || start <= 80 {
		t.Skip("everybody may bind port 80 here: sysctl net.ipv4.ip_unprivileged_port_start=1024")
	}
	var dropErr, reserveErr error
	asOther(func() {
		dropErr = dropEffective(unix.CAP_NET_BIND_SERVICE) // of this thread
		_, reserveErr = reuseport.Reserve(t.Context(), "tcp", "127.0.0.1:80")
	})
	require.NoError(t, dropErr)
	require.ErrorIs(t, reserveErr, syscall.EACCES)
	assert.ErrorIs(t, reserveErr, os.ErrPermission)
}

func dropEffective(capability uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	sets[capability/32].Effective &^= 1 << (capability % 32)
	return unix.Capset(&header, &sets[0])
}

func TestReserveZone(t *testing.T) {
	t.Parallel()
	address, ok := linkLocal(t)
	if !ok {
		t.Skip("no interface has a link-local IPv6 address: ip link add dummy0 type dummy && ip link set dummy0 up")
	}
	r := reserve(t, "tcp", address)
	l := listen(t, "tcp", r.Addr().String())
	assert.Equal(t, l.Addr().String(), r.Addr().String())
}

func linkLocal(t *testing.T) (address string, ok bool) {
	t.Helper()
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		require.NoError(t, err)
		for _, addr := range addrs {
			prefix, err := netip.ParsePrefix(addr.String())
			require.NoError(t, err)
			if a := prefix.Addr(); a.Is6() && a.IsLinkLocalUnicast() {
				return netip.AddrPortFrom(a.WithZone(ifi.Name), 0).String(), true
			}
		}
	}
	return "", false
}
