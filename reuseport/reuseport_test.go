package reuseport_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/leaktest"
	"github.com/multinode-go/multinode/reuseport"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(childEnv); address != "" {
		if err := child(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if where := os.Getenv(lenderEnv); where != "" {
		if err := lender(where); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leaktest.Run(m))
}

func TestUnknownNetwork(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		network string
		call    func(network string) error
	}{
		{"Listen", "udp", func(network string) error {
			_, err := reuseport.Listen(t.Context(), network, "127.0.0.1:0", reuseport.Options{})
			return err
		}},
		{"ListenPacket", "tcp", func(network string) error {
			_, err := reuseport.ListenPacket(t.Context(), network, "127.0.0.1:0", reuseport.Options{})
			return err
		}},
		{"Reserve", "unix", func(network string) error {
			_, err := reuseport.Reserve(t.Context(), network, "127.0.0.1:0")
			return err
		}},
		{"Reserve of nothing", "", func(network string) error {
			_, err := reuseport.Reserve(t.Context(), network, "127.0.0.1:0")
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.call(tt.network)
			var opErr *net.OpError
			require.ErrorAs(t, err, &opErr)
			assert.Equal(t, "listen", opErr.Op)
			assert.Equal(t, tt.network, opErr.Net)
			require.ErrorIs(t, err, net.UnknownNetworkError(tt.network))
			assert.ErrorContains(t, err, "reuseport: listen")
		})
	}
}

func TestSupportedAgreesWithListen(t *testing.T) {
	t.Parallel()
	l, err := reuseport.Listen(t.Context(), "tcp", "127.0.0.1:0", reuseport.Options{})
	if reuseport.Supported() == nil {
		require.NoError(t, err)
		assert.NoError(t, l.Close())
		return
	}
	require.ErrorIs(t, reuseport.Supported(), errors.ErrUnsupported)
	var opErr *net.OpError
	require.ErrorAs(t, err, &opErr)
	assert.ErrorIs(t, opErr, errors.ErrUnsupported)
}

func TestOwnerString(t *testing.T) {
	t.Parallel()
	for want, owner := range map[string]reuseport.Owner{
		"nginx (pid 1234)": {UID: 33, PID: 1234, Program: "nginx"},
		"pid 1234":         {UID: 33, PID: 1234},
		"a process of uid 33 (the kernel does not tell us which)": {UID: 33},
	} {
		assert.Equal(t, want, owner.String())
	}
}
