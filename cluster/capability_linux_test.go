package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dropBindCapability takes CAP_NET_BIND_SERVICE from this thread, so that root is refused as others are.
func dropBindCapability(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &sets[0]))
	sets[0].Effective &^= 1 << unix.CAP_NET_BIND_SERVICE
	require.NoError(t, unix.Capset(&header, &sets[0]))
}
