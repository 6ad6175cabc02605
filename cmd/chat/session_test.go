package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dial opens a WebSocket that says nothing by itself.
func dial(t *testing.T, n *inProcess) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+n.addr+"/socket", nil)
	require.NoError(t, err)
	conn.SetReadLimit(-1)
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// readEnd reads until the node closes the connection.
func readEnd(t *testing.T, conn *websocket.Conn) websocket.CloseError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			var end websocket.CloseError
			require.ErrorAs(t, err, &end)
			return end
		}
	}
}

func TestSessionRefusesAnotherProtocol(t *testing.T) {
	n := newInProcess(t, place(t), 1)
	const hello = `{"type":"hello","name":"Ada"}`
	for _, c := range []struct {
		say  []string
		code websocket.StatusCode
		why  string
	}{
		{[]string{`nonsense`}, websocket.StatusPolicyViolation, "not the protocol"},
		{[]string{`{"type":"say","id":"0123456789abcdef","text":"x"}`}, websocket.StatusPolicyViolation, `"say" before hello`},
		{[]string{`{"type":"hello","name":" \t "}`}, websocket.StatusPolicyViolation, "name is empty"},
		{[]string{`{"type":"hello","name":"` + strings.Repeat("x", maxName+1) + `"}`}, websocket.StatusPolicyViolation, "41 characters"},
		{[]string{`{"type":"hello","name":"a\u0000b"}`}, websocket.StatusPolicyViolation, "control characters"},
		{[]string{hello, `{"type":"hello","name":"Ada"}`}, websocket.StatusPolicyViolation, `type "hello"`},
		{[]string{hello, `{"type":"say","id":"short","text":"x"}`}, websocket.StatusPolicyViolation, "id must be"},
		{[]string{hello, `{"type":"name","name":""}`}, websocket.StatusPolicyViolation, "name is empty"},
		{[]string{hello, `{"type":"say","text":"` + strings.Repeat("x", maxRequest) + `"}`}, websocket.StatusMessageTooBig, ""},
		{[]string{strings.Repeat(" ", int(maxHello(1000))+1)}, websocket.StatusMessageTooBig, ""},
	} {
		conn := dial(t, n)
		for _, text := range c.say {
			require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(text)))
		}
		end := readEnd(t, conn)
		assert.Equal(t, c.code, end.Code, "%.80s", c.say)
		assert.Contains(t, end.Reason, c.why, "%.80s", c.say)
	}
	conn := dial(t, n)
	require.NoError(t, conn.Write(t.Context(), websocket.MessageBinary, []byte(hello)))
	assert.Equal(t, websocket.StatusPolicyViolation, readEnd(t, conn).Code)
}

func TestSessionRefusesPagesOfOthers(t *testing.T) {
	n := newInProcess(t, place(t), 1)
	_, response, err := websocket.Dial(t.Context(), "ws://"+n.addr+"/socket",
		&websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	require.Error(t, err)
	assert.Equal(t, http.StatusForbidden, response.StatusCode)
}

func TestSessionRefusesText(t *testing.T) {
	n := newInProcess(t, place(t), 1)
	c := enter(t, n.addr, "Ada")
	long, empty := c.post(strings.Repeat("\U0001F600", maxText+1)), c.post(" \n ")
	c.await(t, "two refusals", func() bool { return len(c.refused) == 2 })
	assert.Equal(t, "it has 2001 characters, more than 2000", c.refused[long])
	assert.Equal(t, "it is empty", c.refused[empty])
	longest := strings.Repeat("\x01", maxText) // each is six bytes in JSON
	c.say(t, "x"+longest[1:])
	c.awaitTexts(t, "x"+longest[1:])
}

func TestSessionRename(t *testing.T) {
	n := newInProcess(t, place(t), 1)
	ada, zoe := enter(t, n.addr, "Ada"), enter(t, n.addr, "Zoe")
	ada.say(t, "as Ada")
	ada.set(func() { ada.write(t.Context(), request{Type: "name", Name: " Countess  of Lovelace "}) })
	ada.say(t, "as a countess")
	zoe.await(t, "the new name", func() bool { return len(zoe.people) == 2 && zoe.people[0].Name == "Countess of Lovelace" })
	zoe.awaitTexts(t, "as Ada", "as a countess")
	assert.Equal(t, "Ada", zoe.conversation()[0].Name)
	assert.Equal(t, "Countess of Lovelace", zoe.conversation()[1].Name)
}

// A message that is sent again, on the same connection or on another one, is acknowledged again and there once.
func TestSessionSameMessageAgain(t *testing.T) {
	n := newInProcess(t, place(t), 1)
	ada, zoe := enter(t, n.addr, "Ada"), enter(t, n.addr, "Zoe")
	id := ada.say(t, "once")
	for _, c := range []*client{ada, zoe} {
		c.set(func() { c.write(t.Context(), request{Type: "say", ID: id, Text: "once"}) })
	}
	ada.await(t, "a second receipt", func() bool { return len(ada.acked) == 2 })
	zoe.await(t, "a receipt", func() bool { return len(zoe.acked) == 1 })
	ada.say(t, "and on")
	zoe.awaitTexts(t, "once", "and on")
}

// has reports whether a person of that name is on this node.
func (r *room) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(slices.Collect(maps.Values(r.sessions)), name)
}

// A browser that does not read is cut, and delays no other. A browser that was cut because it was slow for a moment catches up.
func TestSessionSlowBrowserIsCut(t *testing.T) {
	n := newInProcess(t, place(t), 1)
	slow := dial(t, n)
	require.NoError(t, slow.Write(t.Context(), websocket.MessageText, []byte(`{"type":"hello","name":"slow"}`)))
	quick := enter(t, n.addr, "quick")
	quick.await(t, "the slow one", func() bool { return len(quick.people) == 2 })
	long := strings.Repeat("x", maxText)
	said := 0
	for ; n.room.has("slow"); said++ {
		require.Less(t, said, 100_000, "the slow browser is still there")
		n.room.say(nil, fmt.Sprintf("a-long-message-%07d", said), long)
	}
	kept := n.room.refs()
	quick.await(t, "the last message", func() bool {
		return len(quick.order) > 0 && quick.order[len(quick.order)-1].stamp == kept[len(kept)-1].stamp
	})
	var have []ref
	for _, m := range quick.conversation() {
		have = append(have, ref{m.ID, m.stamp})
	}
	assert.Equal(t, kept, have)
	t.Logf("cut after %d messages of %d bytes", said, maxText)
}
