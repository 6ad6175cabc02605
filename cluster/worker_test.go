package cluster

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/peer"
)

// TestUpstreamIsLinkedAgain: the master can dial again before the worker has seen the end of the stream before.
func TestUpstreamIsLinkedAgain(t *testing.T) {
	opts, err := Options{Logger: slog.New(slog.DiscardHandler)}.withDefaults(nil)
	require.NoError(t, err)
	u := newUpstream(opts, peer.Solo(peer.Info{ID: 1, Slot: 1}), local.New(false))
	u.orphan = time.AfterFunc(time.Hour, func() {})
	defer u.orphan.Stop()
	first, second := newTestLink(t), newTestLink(t)
	u.attach(first)
	u.attach(second)
	u.detach(first)
	require.NoError(t, u.awaitLink(t.Context()))
	assert.Equal(t, &second, u.master())
	u.detach(second)
	assert.Nil(t, u.master())
	u.attach(first)
	require.NoError(t, u.awaitLink(t.Context()))
	assert.Equal(t, &first, u.master())
	u.attach(second)
	u.detach(second)
	assert.Equal(t, &first, u.master(), "the one that is left")
}

// newTestLink returns a link to nobody.
func newTestLink(t *testing.T) toMaster {
	t.Helper()
	here, there := net.Pipe()
	require.NoError(t, there.Close())
	return toMaster{Master: protocol.NewMaster(here)}
}

// master returns the link to the master, nil if there is none.
func (u *upstream) master() *toMaster {
	if l, ok := u.current(); ok {
		return &l
	}
	return nil
}
