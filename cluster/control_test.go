package cluster

import (
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// listenTo serves a link over conn, and returns what arrives, closed when the link has ended, and then what serve has
// returned.
func listenTo(conn io.ReadWriteCloser) (*link, <-chan message, <-chan error) {
	l, messages, end := newLink(conn), make(chan message), make(chan error, 1)
	go func() { // ends with the link
		end <- l.serve(func(m message) { messages <- m })
		close(messages)
	}()
	return l, messages, end
}

func TestLinkCarriesMessages(t *testing.T) {
	a, b := net.Pipe()
	here, answers, _ := listenTo(a)
	there, messages, end := listenTo(b)
	for _, want := range []message{
		{Kind: kindReady},
		{Kind: kindStop, Timeout: time.Minute},
		{Kind: kindListen, Seq: 3, Port: &portKey{Network: "tcp", Address: ":0", Nth: 2}},
		{Kind: kindAnswer, Seq: 3, Error: "line one\nline two", Errno: 98},
	} {
		require.NoError(t, here.send(want))
		assert.Equal(t, want, <-messages)
		require.NoError(t, there.send(want))
		assert.Equal(t, want, <-answers)
	}
	require.NoError(t, a.Close())
	_, open := <-messages
	assert.False(t, open)
	_, open = <-answers
	assert.False(t, open)
	require.NoError(t, <-end)
	assert.ErrorContains(t, there.send(message{Kind: kindReady}), "control message ready")
}

func TestLinkEndsWithGarbage(t *testing.T) {
	t.Parallel()
	huge, err := json.Marshal(make([]int, maxMessage))
	require.NoError(t, err)
	for name, garbage := range map[string][]byte{
		"no frame":       []byte("hello\n"),
		"no JSON":        framing.AppendFrame(nil, framing.Text, []byte("hello")),
		"another type":   framing.AppendFrame(nil, framing.Text, []byte(`{"kind": 7}`)),
		"too long":       framing.AppendFrame(nil, framing.Text, huge),
		"half a message": framing.AppendFrame(nil, framing.Text, []byte(`{"kind": "ready"}`))[:9],
	} {
		a, b := net.Pipe()
		_, messages, end := listenTo(b)
		go io.Copy(io.Discard, a) // what the link has to say about it; ends with a
		go func() {               // ends with a
			_, _ = a.Write(garbage)
			if name == "half a message" {
				_ = a.Close()
			}
		}()
		_, open := <-messages
		assert.False(t, open, name)
		assert.Equal(t, name == "half a message", <-end == nil, name)
		_ = a.Close()
	}
}
