package reuseport_test

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

// Where the kernel is new enough, not to have it is a failure.
func TestProbeHere(t *testing.T) {
	t.Parallel()
	s := reuseport.Probe()
	require.NoError(t, s.Attach)
	if kernelAtLeast(t, 6, 2) {
		require.NoError(t, s.IncomingCPU)
		assert.GreaterOrEqual(t, s.Rung, reuseport.RungIncomingCPU)
	}
	if s.Reattach == nil {
		assert.GreaterOrEqual(t, s.Rung, reuseport.RungBPF)
	} else {
		assert.Contains(t, s.Advice[0].Command, "update the kernel")
	}
	assert.GreaterOrEqual(t, reuseport.OnlineCPUs(), runtime.NumCPU())
}

// ownNetwork runs f on a thread in a network namespace of its own, in which the loopback interface is up. Goroutines
// that f starts are not in it, but what they do with its sockets is.
func ownNetwork(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs a network namespace: run as root")
	}
	var err error
	asOther(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if assert.NoError(t, loopbackUp()) {
			f()
		}
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs a network namespace: run with CAP_SYS_ADMIN")
	}
	require.NoError(t, err)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

func setMigrate(value int) error {
	return os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte(strconv.Itoa(value)), 0)
}

// queued opens a group of two with waiting connections in the queue of the second, and closes that. What returns is how
// many are in the queue of the first.
func queued(t *testing.T, waiting int) (first *net.TCPListener, conns []net.Conn, moved int) {
	t.Helper()
	members, client := kinds[0].members(t, 2)
	attach(t, members[0], 0, 1)
	for range waiting {
		conns = append(conns, dial(t, client))
	}
	requireLength(t, members[1], waiting)
	require.NoError(t, members[1].Close())
	stats, err := reuseport.Queue(members[0])
	require.NoError(t, err)
	return members[0], conns, stats.Length
}

func TestIntegrationMigrate(t *testing.T) {
	t.Parallel()
	const waiting = 20
	if !kernelAtLeast(t, 5, 14) {
		t.Skip("needs net.ipv4.tcp_migrate_req: Linux 5.14")
	}
	ownNetwork(t, func() {
		off := reuseport.Probe()
		require.ErrorIs(t, off.Migrate, errors.ErrUnsupported)
		assert.Less(t, off.Rung, reuseport.RungBPFMigrate)
		assert.Equal(t, "sysctl -w net.ipv4.tcp_migrate_req=1", off.Advice[len(off.Advice)-1].Command)
		_, conns, moved := queued(t, waiting)
		assert.Zero(t, moved)
		for _, c := range conns {
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, unix.ECONNRESET)
		}

		require.NoError(t, setMigrate(1))
		on := reuseport.Probe()
		require.NoError(t, on.Migrate)
		if on.Reattach == nil {
			assert.Equal(t, reuseport.RungBPFMigrate, on.Rung)
		}
		first, conns, moved := queued(t, waiting)
		assert.Equal(t, waiting, moved)
		for range conns {
			c, err := first.Accept()
			if assert.NoError(t, err) {
				c.Close()
			}
		}
	})
}

// The kernel keeps closed listeners in the array of their group then, behind the others.
func TestIntegrationOrderWithMigration(t *testing.T) {
	t.Parallel()
	ownNetwork(t, func() {
		if assert.NoError(t, setMigrate(1)) {
			churn(t, kinds[0], 60, 7)
		}
	})
}

func TestIntegrationSinkWithMigration(t *testing.T) {
	t.Parallel()
	ownNetwork(t, func() {
		require.NoError(t, setMigrate(1))
		members, client := kinds[0].members(t, 2)
		attach(t, members[0], 1, 1)
		s := newSink(t, kinds[0], members)
		fill(t, s, 2, 0, 0, 1)
		_, err := net.DialTimeout("tcp", client, impatience)
		require.Error(t, err)
		require.NoError(t, s.Close())
		// What filled the queue moves to a member, and is a reset connection there.
		moved := 0
		for _, l := range members {
			stats, err := reuseport.Queue(l)
			require.NoError(t, err)
			moved += stats.Length
		}
		assert.LessOrEqual(t, moved, 1)
	})
}

// The member whose CPU is none gets nothing where each CPU has another one.
func TestSetIncomingCPU(t *testing.T) {
	t.Parallel()
	if reuseport.Probe().IncomingCPU != nil {
		t.Skip("needs SO_INCOMING_CPU within a group: Linux 6.2")
	}
	for _, k := range kinds[:2] {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			cpus := reuseport.OnlineCPUs()
			members, client := k.members(t, cpus+1)
			counter := newCounter(t, members)
			for cpu, l := range members[1:] {
				require.NoError(t, reuseport.SetIncomingCPU(l, cpu))
			}
			assert.Zero(t, counter.count(t, client, len(members), 500)[0])
			for _, l := range members[1:] {
				require.NoError(t, reuseport.SetIncomingCPU(l, -1))
			}
			assert.NotContains(t, counter.count(t, client, len(members), 200*len(members)), 0)
		})
	}
	closed := listen(t, "tcp", "127.0.0.1:0")
	closed.Close()
	assert.ErrorIs(t, reuseport.SetIncomingCPU(closed, 0), net.ErrClosed)
}
