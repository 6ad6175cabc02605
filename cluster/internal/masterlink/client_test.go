package masterlink

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
)

// TestClientIsLinkedAgain: the master can dial again before the worker has seen the end of the stream before.
func TestClientIsLinkedAgain(t *testing.T) {
	alone := true
	u := New(Config{
		Listeners: local.New(false, nil), Alone: func(is bool) { alone = is },
	})
	first, second := newTestLink(t), newTestLink(t)
	u.attach(first)
	u.attach(second)
	u.detach(first)
	require.NoError(t, u.awaitLink(t.Context()))
	assert.Equal(t, &second, u.master())
	u.detach(second)
	assert.Nil(t, u.master())
	assert.True(t, alone)
	u.attach(first)
	assert.False(t, alone)
	require.NoError(t, u.awaitLink(t.Context()))
	assert.Equal(t, &first, u.master())
	u.attach(second)
	u.detach(second)
	assert.Equal(t, &first, u.master(), "the link that is left")
}

// newTestLink returns a link without a peer.
func newTestLink(t *testing.T) link {
	t.Helper()
	here, there := net.Pipe()
	require.NoError(t, there.Close())
	return link{Master: protocol.NewMaster(here)}
}

// master returns the link to the master, nil if there is none.
func (u *Client) master() *link {
	if l, ok := u.current(); ok {
		return &l
	}
	return nil
}
