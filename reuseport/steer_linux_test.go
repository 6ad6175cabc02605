package reuseport_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

// kind is a way to reach a group.
type kind struct{ name, network, address, client string }

var kinds = []kind{
	{"IPv4", "tcp", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6", "tcp", "[::1]:0", "::1"},
	{"dual stack over IPv4", "tcp", ":0", "127.0.0.1"},
	{"dual stack over IPv6", "tcp", ":0", "::1"},
	{"all IPv4", "tcp4", "0.0.0.0:0", "127.0.0.1"},
}

// members opens a group, and returns where a client reaches it.
func (k kind) members(t *testing.T, n int) (members []*net.TCPListener, client string) {
	t.Helper()
	members = append(members, listen(t, k.network, k.address))
	for range n - 1 {
		members = append(members, k.join(t, members))
	}
	return members, net.JoinHostPort(k.client, strconv.Itoa(members[0].Addr().(*net.TCPAddr).Port))
}

func (k kind) join(t *testing.T, members []*net.TCPListener) *net.TCPListener {
	t.Helper()
	return listen(t, k.network, members[0].Addr().String())
}

func attach(t *testing.T, l syscall.Conn, weights ...uint32) {
	t.Helper()
	require.NoError(t, reuseport.Attach(l, reuseport.Steering{Weights: weights}))
}

// counter accepts from all members and counts.
type counter struct {
	accepted chan int
	loops    sync.WaitGroup
}

func newCounter(t *testing.T, members []*net.TCPListener) *counter {
	t.Helper()
	c := &counter{accepted: make(chan int)}
	for i, l := range members {
		c.loops.Go(func() { // ends when l is closed, before the test's end
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
				c.accepted <- i
			}
		})
	}
	t.Cleanup(func() {
		for _, l := range members {
			l.Close()
		}
		c.loops.Wait()
	})
	return c
}

// count dials n times and returns how many connections each of the members has got.
func (c *counter) count(t *testing.T, client string, members, n int) []int {
	t.Helper()
	got := make([]int, members)
	for range n {
		conn, err := net.DialTimeout("tcp", client, limit)
		require.NoError(t, err)
		got[<-c.accepted]++
		conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT, of which the ports would run out
		conn.Close()
	}
	return got
}

// assertShares compares with a binomial distribution: beyond 6 standard deviations in one of 10^9 runs.
func assertShares(t *testing.T, weights []uint32, got []int) {
	t.Helper()
	sum, n := 0.0, 0
	for i, w := range weights {
		sum += float64(w)
		n += got[i]
	}
	for i, w := range weights {
		p := float64(w) / sum
		want := float64(n) * p
		assert.InDelta(t, want, got[i], 6*math.Sqrt(want*(1-p)), "member %d of %v: %v", i, weights, got)
	}
}

func TestAttachWeights(t *testing.T) {
	t.Parallel()
	const connections = 1500
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			members, client := k.members(t, 4)
			counter := newCounter(t, members)
			for i, weights := range [][]uint32{{1, 1, 1, 1}, {1, 0, 3, 0}, {0, 7, 7, 7}, {0, 0, 0, 1}} {
				attach(t, members[i], weights...)
				assertShares(t, weights, counter.count(t, client, 4, connections))
			}
		})
	}
}

// Not one of thousands of connections reaches an excluded member, at any index.
func TestAttachExcludes(t *testing.T) {
	t.Parallel()
	const connections = 2000
	members, client := kinds[0].members(t, 3)
	counter := newCounter(t, members)
	for left := range members {
		weights := []uint32{1, 1, 1}
		weights[left] = 0
		attach(t, members[0], weights...)
		got := counter.count(t, client, 3, connections)
		assert.Zero(t, got[left])
		assertShares(t, weights, got)
	}
}

func TestAttachNothingLeavesItToTheHash(t *testing.T) {
	t.Parallel()
	members, client := kinds[0].members(t, 2)
	counter := newCounter(t, members)
	attach(t, members[0], 1, 0)
	assert.Equal(t, []int{20, 0}, counter.count(t, client, 2, 20))
	attach(t, members[0])
	assert.NotContains(t, counter.count(t, client, 2, 200), 0) // fails in one of 2^199
}

// An index beyond the group's end lets the hash decide, among all.
func TestAttachBeyondTheEnd(t *testing.T) {
	t.Parallel()
	members, client := kinds[0].members(t, 2)
	counter := newCounter(t, members)
	attach(t, members[0], 0, 0, 1)
	assert.NotContains(t, counter.count(t, client, 2, 200), 0)
}

func TestAttachManyWeights(t *testing.T) {
	t.Parallel()
	var files unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	if files.Cur < 2*reuseport.MaxWeights {
		t.Skip("needs more descriptors: ulimit -n 4096")
	}
	members, _ := kinds[0].members(t, reuseport.MaxWeights)
	weights := slices.Repeat([]uint32{math.MaxUint32}, reuseport.MaxWeights)
	q := ask(t, members[0])
	for _, index := range []int{0, 1, 511, 512, reuseport.MaxWeights - 1} {
		clear(weights)
		weights[index] = 1
		err := reuseport.Attach(members[0], reuseport.Steering{Weights: weights})
		if errors.Is(err, syscall.ENOMEM) {
			t.Skip("the kernel allows no such long program: sysctl -w net.core.optmem_max=131072")
		}
		require.NoError(t, err)
		conn := dial(t, members[0].Addr().String())
		requireLength(t, members[index], 1)
		conn.Close()
		accept(t, members[index]).Close()
	}
	// The longest program there is.
	for i := range weights {
		weights[i] = math.MaxUint32
	}
	last := reuseport.MaxWeights - 1
	require.NoError(t, reuseport.Attach(members[0], reuseport.Steering{
		Weights: weights,
		Mark:    &reuseport.Mark{Port: q.Port(), Index: last},
	}))
	require.NoError(t, q.Connect(t.Context()))
	requireLength(t, members[last], 1)
}

func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	unshared := ordinary(t, "tcp", "127.0.0.1:0")
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	mptcp, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { mptcp.Close() })
	udp := listenPacket(t, "udp", "127.0.0.1:0")
	shut := listen(t, "tcp", "127.0.0.1:0")
	raw, err := shut.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { assert.NoError(t, unix.Shutdown(int(fd), unix.SHUT_RD)) }))

	tests := []struct {
		name     string
		socket   syscall.Conn
		steering reuseport.Steering
		want     error
	}{
		{"too many weights", l, reuseport.Steering{Weights: make([]uint32, reuseport.MaxWeights+1)}, syscall.EINVAL},
		{"a mark without a port", l, reuseport.Steering{Mark: &reuseport.Mark{Index: 1}}, syscall.EINVAL},
		{"a mark before the start", l, reuseport.Steering{Mark: &reuseport.Mark{Port: 1, Index: -1}}, syscall.EINVAL},
		{"a mark beyond all ends", l, reuseport.Steering{Mark: &reuseport.Mark{Port: 1, Index: 1 << 16}}, syscall.EINVAL},
		{"a closed listener", closed, reuseport.Steering{}, net.ErrClosed},
		{"a listener that left", shut, reuseport.Steering{}, syscall.EINVAL},
		{"a listener that shares nothing", unshared, reuseport.Steering{}, syscall.EINVAL},
		{"a Multipath TCP listener", mptcp.(*net.TCPListener), reuseport.Steering{}, syscall.EOPNOTSUPP},
		{"UDP", udp, reuseport.Steering{}, syscall.EINVAL},
		{"a connection", dial(t, l.Addr().String()).(*net.TCPConn), reuseport.Steering{}, syscall.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := reuseport.Attach(tt.socket, tt.steering)
			require.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, "reuseport: attach: ")
		})
	}
}

func TestAttachRefusesAReservation(t *testing.T) {
	t.Parallel()
	bound := -1
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		err := reuseport.Attach(rawConn{c}, reuseport.Steering{})
		bound = 0
		return err
	}}
	lc.SetMultipathTCP(false)
	_, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, syscall.EINVAL)
	assert.Zero(t, bound)
}

type rawConn struct{ syscall.RawConn }

func (c rawConn) SyscallConn() (syscall.RawConn, error) { return c.RawConn, nil }

func TestSteeringJSON(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]reuseport.Steering{
		`{}`:                {},
		`{"weights":[1,0]}`: {Weights: []uint32{1, 0}},
		`{"weights":[4294967295],"mark":{"port":4711,"index":0}}`: {
			Weights: []uint32{math.MaxUint32},
			Mark:    &reuseport.Mark{Port: 4711},
		},
	} {
		got, err := json.Marshal(s)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
		var back reuseport.Steering
		require.NoError(t, json.Unmarshal(got, &back))
		assert.Equal(t, s, back)
	}
}

func BenchmarkAttach(b *testing.B) {
	for _, n := range []int{4, 16, 64} {
		b.Run(fmt.Sprintf("%d members", n), func(b *testing.B) {
			address := "127.0.0.1:0"
			var member *net.TCPListener
			for range n {
				l, err := reuseport.Listen(b.Context(), "tcp", address, reuseport.Options{})
				require.NoError(b, err)
				defer l.Close()
				member, address = l, l.Addr().String()
			}
			s := reuseport.Steering{Weights: slices.Repeat([]uint32{3}, n)}
			b.ReportAllocs()
			for b.Loop() {
				if err := reuseport.Attach(member, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
