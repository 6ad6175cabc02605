package reuseport

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDumpSocketsOfAConnection(t *testing.T) {
	t.Parallel()
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l, err := Listen(t.Context(), network, address, Options{})
			require.NoError(t, err)
			defer l.Close()
			client, err := net.Dial(network, l.Addr().String())
			require.NoError(t, err)
			defer client.Close()
			c, err := l.Accept()
			require.NoError(t, err)
			defer c.Close()

			local := netip.MustParseAddrPort(c.LocalAddr().String())
			family := uint8(unix.AF_INET)
			if local.Addr().Is6() {
				family = unix.AF_INET6
			}
			sockets, err := dumpSockets(family, 1<<tcpEstablished, local.Port())
			require.NoError(t, err)
			require.Len(t, sockets, 1)
			assert.Equal(t, local, sockets[0].local)
			assert.Equal(t, netip.MustParseAddrPort(c.RemoteAddr().String()), sockets[0].remote)
			assert.EqualValues(t, tcpEstablished, sockets[0].state)
		})
	}
}

// More sockets than one datagram of the kernel holds.
func TestDumpSocketsInParts(t *testing.T) {
	t.Parallel()
	const many = 500
	address := "127.0.0.1:0"
	for range many {
		l, err := Listen(t.Context(), "tcp", address, Options{})
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		address = l.Addr().String()
	}
	sockets, err := dumpSockets(unix.AF_INET, 1<<tcpListen, netip.MustParseAddrPort(address).Port())
	require.NoError(t, err)
	inodes := make(map[uint32]bool)
	for _, s := range sockets {
		inodes[s.inode] = true
	}
	assert.Len(t, inodes, many)
}

func TestDumpSocketsRefused(t *testing.T) {
	t.Parallel()
	_, err := dumpSockets(255, 1<<tcpListen, 1) // beyond AF_MAX
	assert.ErrorIs(t, err, unix.EINVAL)
}

// datagram builds what the kernel would send.
func datagram(messageType uint16, body []byte) []byte {
	header := unix.NlMsghdr{Len: uint32(unix.SizeofNlMsghdr + len(body)), Type: messageType}
	return append(appendNative(nil, header), body...)
}

func listening(family uint8, attrs ...byte) []byte {
	msg := inetDiagMsg{Family: family, State: tcpListen, UID: 33, Inode: 4711}
	msg.ID.SrcPort = [2]byte{0x1f, 0x90} // 8080
	return append(appendNative(nil, msg), attrs...)
}

func v6OnlyAttr(value byte) []byte {
	return append(appendNative(nil, unix.NlAttr{Len: unix.SizeofNlAttr + 1, Type: skV6Only}), value)
}

func TestParseDump(t *testing.T) {
	t.Parallel()
	all := netip.MustParseAddrPort("[::]:8080")
	none := netip.MustParseAddrPort("[::]:0")
	v6 := diagSocket{family: unix.AF_INET6, state: tcpListen, local: all, remote: none, uid: 33, inode: 4711}
	v6only := v6
	v6only.v6only = true
	full := datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET6, v6OnlyAttr(1)...))
	tests := []struct {
		name string
		in   []byte
		want []diagSocket
		done bool
		err  error
	}{
		{"nothing", nil, nil, false, nil},
		{"done", datagram(unix.NLMSG_DONE, make([]byte, 4)), nil, true, nil},
		{"error", datagram(unix.NLMSG_ERROR, appendNative(nil, -int32(unix.EPERM))), nil, true, unix.EPERM},
		{"no tcp_diag", datagram(unix.NLMSG_ERROR, appendNative(nil, -int32(unix.ENOENT))), nil, true, errors.ErrUnsupported},
		{"no status", datagram(unix.NLMSG_DONE, nil), nil, true, errMalformed},
		{"dual stack", datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET6, v6OnlyAttr(0)...)), []diagSocket{v6}, false, nil},
		{"IPv6 only", full, []diagSocket{v6only}, false, nil},
		{"after padding", slices.Concat(full, []byte{0, 0, 0}, full), []diagSocket{v6only, v6only}, false, nil},
		{"of another type", datagram(unix.NLMSG_NOOP, []byte{1}), nil, false, nil},
		{"of another family", datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_UNIX)), nil, false, errMalformed},
		{"short header", full[:unix.SizeofNlMsghdr-1], nil, false, errMalformed},
		{"longer than the datagram", full[:len(full)-1], nil, false, errMalformed},
		{"shorter than its header", appendNative(nil, unix.NlMsghdr{Len: unix.SizeofNlMsghdr - 1}), nil, false, errMalformed},
		{"largest length", appendNative(nil, unix.NlMsghdr{Len: 1<<32 - 1}), nil, false, errMalformed},
		{"short socket", datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET)[:40]), nil, false, errMalformed},
		{"short attribute", datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET6, 5, 0)), nil, false, errMalformed},
		{"attribute of no length", datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET6, 0, 0, 0, 0)), nil, false, errMalformed},
		{"attribute too long", datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET6, 0xff, 0xff, 0, 0)), nil, false, errMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, done, err := parseDump(tt.in, nil)
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.done, done)
			assert.ErrorIs(t, err, tt.err)
		})
	}
}

func FuzzParseDump(f *testing.F) {
	full := datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET6, v6OnlyAttr(1)...))
	f.Add(full)
	f.Add(full[:len(full)-3])
	f.Add(datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET)))
	f.Add(datagram(unix.NLMSG_DONE, make([]byte, 4)))
	f.Add(datagram(unix.NLMSG_ERROR, appendNative(nil, -int32(unix.ENOENT))))
	f.Fuzz(func(t *testing.T, b []byte) {
		sockets, _, err := parseDump(b, nil)
		if err != nil {
			return
		}
		size := len(datagram(unix.SOCK_DIAG_BY_FAMILY, listening(unix.AF_INET)))
		assert.LessOrEqual(t, len(sockets)*size, len(b), "each socket comes from bytes of its own")
		for _, s := range sockets {
			assert.True(t, s.local.IsValid() && s.remote.IsValid())
			assert.Equal(t, s.family == unix.AF_INET, s.local.Addr().Is4())
		}
	})
}
