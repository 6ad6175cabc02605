package reuseport_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/reuseport"
)

var rungs = []reuseport.Rung{reuseport.RungHash, reuseport.RungIncomingCPU, reuseport.RungBPF, reuseport.RungBPFMigrate}

func TestRung(t *testing.T) {
	t.Parallel()
	promises := make(map[string]bool)
	for i, name := range []string{"hash", "incoming-cpu", "cbpf", "cbpf+migrate"} {
		assert.Equal(t, name, rungs[i].String())
		r, err := reuseport.ParseRung(name)
		require.NoError(t, err)
		assert.Equal(t, rungs[i], r)
		promises[r.Promise()] = true
	}
	assert.Len(t, promises, len(rungs))
	for _, name := range []string{"", "HASH", "ebpf", "Rung(7)"} {
		_, err := reuseport.ParseRung(name)
		require.Error(t, err, name)
	}
	assert.Equal(t, "Rung(7)", reuseport.Rung(7).String())
	assert.Equal(t, "Rung(-1)", reuseport.Rung(-1).String())
}

func TestProbe(t *testing.T) {
	t.Parallel()
	s := reuseport.Probe()
	assert.NotEmpty(t, s.Kernel)
	assert.GreaterOrEqual(t, s.Rung, reuseport.RungHash)
	for _, err := range []error{s.Reattach, s.IncomingCPU, s.Migrate} {
		if err != nil {
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
	}
	for _, advice := range s.Advice {
		assert.NotEmpty(t, advice.Gives)
		assert.NotEmpty(t, advice.Command)
	}
	if runtime.GOOS != "linux" {
		require.ErrorIs(t, s.Attach, errors.ErrUnsupported)
		assert.Equal(t, reuseport.RungHash, s.Rung)
	}
}
