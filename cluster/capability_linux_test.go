package cluster

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestPortThatNeedsPermission(t *testing.T) {
	floor, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	require.NoError(t, err)
	if n, err := strconv.Atoi(strings.TrimSpace(string(floor))); err != nil || n <= 80 {
		t.Skip("any user may bind port 80 here; sysctl net.ipv4.ip_unprivileged_port_start=1024 makes it a privilege")
	}
	runtime.LockOSThread() // and never unlock it: the thread without the capability ends with this goroutine
	dropBindCapability(t)
	err = refused(t, Options{Addr: "127.0.0.1:80", Dir: ownDir(t)})
	require.ErrorIs(t, err, syscall.EACCES)
	require.ErrorContains(t, err, "CAP_NET_BIND_SERVICE")
	assert.ErrorContains(t, err, "choose a higher port")
}

// dropBindCapability takes CAP_NET_BIND_SERVICE from this thread, so that root is refused as others are.
func dropBindCapability(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &sets[0]))
	sets[0].Effective &^= 1 << unix.CAP_NET_BIND_SERVICE
	require.NoError(t, unix.Capset(&header, &sets[0]))
}
