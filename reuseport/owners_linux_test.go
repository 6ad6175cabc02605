package reuseport_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/reuseport"
)

func ownersOf(t *testing.T, network, address string) []reuseport.Owner {
	t.Helper()
	owners, err := reuseport.Owners(t.Context(), network, address)
	require.NoError(t, err)
	return owners
}

// self is this process as the owner of a listener.
func self(t *testing.T, addr net.Addr, inode uint32) reuseport.Owner {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	return reuseport.Owner{
		Addr:      netip.MustParseAddrPort(addr.String()),
		Listening: true,
		UID:       os.Getuid(),
		PID:       os.Getpid(),
		Program:   strings.TrimSpace(string(name)),
		Inode:     inode,
	}
}

func inodeOf(t *testing.T, l syscall.Conn) uint32 {
	t.Helper()
	c, err := l.SyscallConn()
	require.NoError(t, err)
	var stat unix.Stat_t
	require.NoError(t, c.Control(func(fd uintptr) { assert.NoError(t, unix.Fstat(int(fd), &stat)) }))
	return uint32(stat.Ino)
}

func TestOwnersOfAGroup(t *testing.T) {
	t.Parallel()
	first := listen(t, "tcp", "127.0.0.1:0")
	second := listen(t, "tcp", first.Addr().String())
	assert.ElementsMatch(t, []reuseport.Owner{
		self(t, first.Addr(), inodeOf(t, first)),
		self(t, first.Addr(), inodeOf(t, second)),
	}, ownersOf(t, "tcp", first.Addr().String()))
}

// What net.Listen opens since Go 1.24 is shown as TCP too, by the socket of its first subflow.
func TestOwnersOfMultipathTCP(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	assert.Equal(t, []reuseport.Owner{self(t, l.Addr(), inodeOf(t, l.(*net.TCPListener)))},
		ownersOf(t, "tcp", l.Addr().String()))
}

func TestOwnersOverlap(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, network, address string // what is held
		askNetwork, askHost    string
		overlaps               bool
	}{
		{"same IPv4", "tcp", "127.0.0.1:0", "tcp", "127.0.0.1", true},
		{"another IPv4", "tcp", "127.0.0.1:0", "tcp", "127.0.0.2", false},
		{"same IPv6", "tcp", "[::1]:0", "tcp", "::1", true},
		{"IPv4 by all", "tcp", "127.0.0.1:0", "tcp", "", true},
		{"IPv4 by all IPv4", "tcp", "127.0.0.1:0", "tcp4", "", true},
		{"IPv4 by all IPv6", "tcp", "127.0.0.1:0", "tcp6", "", false},
		{"all by IPv4", "tcp", ":0", "tcp", "127.0.0.1", true},
		{"all by all IPv4", "tcp", ":0", "tcp4", "", true},
		{"all by IPv6", "tcp", ":0", "tcp", "::1", true},
		{"all IPv6 by IPv4", "tcp6", "[::]:0", "tcp", "127.0.0.1", false},
		{"all IPv6 by all IPv4", "tcp6", "[::]:0", "tcp4", "", false},
		{"all IPv6 by IPv6", "tcp6", "[::]:0", "tcp", "::1", true},
		{"all IPv6 by all", "tcp6", "[::]:0", "tcp", "", true},
		{"all IPv4 by IPv6", "tcp4", "0.0.0.0:0", "tcp", "::1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, tt.network, tt.address)
			port := l.Addr().(*net.TCPAddr).Port
			mine := self(t, l.Addr(), inodeOf(t, l))
			owners := ownersOf(t, tt.askNetwork, net.JoinHostPort(tt.askHost, strconv.Itoa(port)))
			if tt.overlaps {
				assert.Contains(t, owners, mine)
			} else {
				assert.NotContains(t, owners, mine)
			}
		})
	}
}

func TestOwnersOfAReservation(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{
		"IPv4":       "127.0.0.1:0",
		"IPv6":       "[::1]:0",
		"dual stack": ":0",
		"leftovers":  leftover(t, "tcp", "127.0.0.1:0"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reserve(t, "tcp", address)
			owners := ownersOf(t, "tcp", r.Addr().String())
			if len(owners) == 0 && !kernelAtLeast(t, 6, 8) {
				t.Skip("needs TCP_BOUND_INACTIVE in sock_diag: Linux 6.8")
			}
			require.Len(t, owners, 1)
			want := self(t, r.Addr(), owners[0].Inode)
			want.Listening = false
			assert.Equal(t, want, owners[0])
		})
	}
}

func kernelAtLeast(t *testing.T, major, minor int) bool {
	t.Helper()
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	require.NoError(t, err)
	parts := strings.FieldsFunc(string(release), func(r rune) bool { return r < '0' || r > '9' })
	require.GreaterOrEqual(t, len(parts), 2)
	gotMajor, err := strconv.Atoi(parts[0])
	require.NoError(t, err)
	gotMinor, err := strconv.Atoi(parts[1])
	require.NoError(t, err)
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

func TestOwnersOfAFreePort(t *testing.T) {
	t.Parallel()
	assert.Empty(t, ownersOf(t, "tcp", leftover(t, "tcp", "127.0.0.1:0")), "connections own nothing")
	assert.Empty(t, ownersOf(t, "tcp", "127.0.0.1:0"))
}

// heir starts a child process that inherits a listener. Not for parallel tests: between fork and exec a child has all
// descriptors of this process, so that a port stays held for a moment after another test has closed its socket.
func heir(t *testing.T, l *net.TCPListener) (pid int) {
	t.Helper()
	file, err := l.File()
	require.NoError(t, err)
	defer file.Close()
	cat := exec.CommandContext(t.Context(), "cat") // ends with its standard input
	cat.ExtraFiles = []*os.File{file}
	input, err := cat.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cat.Start())
	t.Cleanup(func() {
		input.Close()
		cat.Wait()
	})
	return cat.Process.Pid
}

func TestOwnersOfAnInheritedSocket(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	mine := self(t, l.Addr(), inodeOf(t, l))
	child := mine
	child.PID, child.Program = heir(t, l), "cat"
	assert.ElementsMatch(t, []reuseport.Owner{mine, child}, ownersOf(t, "tcp", l.Addr().String()))
}

func TestIntegrationOwnersOfAnotherUID(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	want := self(t, l.Addr(), inodeOf(t, l))
	want.PID, want.Program = 0, ""
	heir(t, l)
	require.NoError(t, l.Close()) // our own descriptors are readable for all of our threads
	var owners []reuseport.Owner
	var err error
	asNobody(t, func() { owners, err = reuseport.Owners(t.Context(), "tcp", l.Addr().String()) })
	require.NoError(t, err)
	assert.Equal(t, []reuseport.Owner{want}, owners)
}
