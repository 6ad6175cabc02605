package cluster

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLinkCarriesMessages(t *testing.T) {
	a, b := net.Pipe()
	messages := []message{
		{Kind: kindReady},
		{Kind: kindStop, Timeout: time.Minute},
		{Kind: kindListen, Seq: 3, Port: &portKey{Network: "tcp", Address: ":0", Nth: 2}},
		{Kind: kindAnswer, Seq: 3, Error: "line one\nline two", Errno: 98},
	}
	sent := make(chan error, 1)
	go func() {
		sender := newLink(a)
		for _, m := range messages {
			if err := sender.send(m); err != nil {
				sent <- err
				return
			}
		}
		sent <- a.Close()
	}()
	receiver := newLink(b)
	for _, want := range messages {
		got, err := receiver.receive()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	require.NoError(t, <-sent)
	_, err := receiver.receive()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, b.Close())
}

func TestLinkReceivesGarbage(t *testing.T) {
	for name, garbage := range map[string]string{
		"no JSON":        "hello\n",
		"another type":   `{"kind": 7}` + "\n",
		"endless":        strings.Repeat("x", 2*maxMessage),
		"half a message": `{"kind": "rea`,
	} {
		a, b := net.Pipe()
		go func() {
			_, _ = io.WriteString(a, garbage) // the reader may stop earlier
			_ = a.Close()
		}()
		_, err := newLink(b).receive()
		require.Error(t, err, name)
		require.NoError(t, b.Close())
	}
}

func TestLinkSendAfterTheOtherEndIsGone(t *testing.T) {
	a, b := net.Pipe()
	require.NoError(t, b.Close())
	assert.ErrorIs(t, newLink(a).send(message{Kind: kindReady}), io.ErrClosedPipe)
}
