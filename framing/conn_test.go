package framing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// limited returns a context that ends the test's patience.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	return ctx
}

type point struct{ X, Y int }

func TestSendValues(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx := limited(t)
	tests := []struct {
		name string
		send any
		want framing.Message
	}{
		{"bytes", []byte{0, 0xff}, message(framing.Binary, "\x00\xff")},
		{"no bytes", []byte(nil), message(framing.Binary, "")},
		{"string", "grüß\n", message(framing.Text, `"grüß\n"`)},
		{"number", 17, message(framing.Text, "17")},
		{"nil", nil, message(framing.Text, "null")},
		{"struct", point{1, 2}, message(framing.Text, `{"X":1,"Y":2}`)},
		{"JSON as it is", json.RawMessage(` {"a": 1}`), message(framing.Text, ` {"a": 1}`)},
		{"plain text", message(framing.Text, "not JSON"), message(framing.Text, "not JSON")},
		{"large", make([]byte, 1<<20), message(framing.Binary, string(make([]byte, 1<<20)))},
	}
	for _, tt := range tests {
		encoded, err := framing.Encode(tt.send)
		require.NoError(t, err)
		for how, send := range map[string]func() error{
			"Send":        func() error { return a.Send(ctx, tt.send) },
			"SendMessage": func() error { return a.SendMessage(ctx, tt.want) },
			"SendEncoded": func() error { return a.SendEncoded(ctx, encoded) },
		} {
			sent := make(chan error, 1)
			go func() { sent <- send() }()
			got, err := b.Receive(ctx)
			require.NoError(t, err)
			require.NoError(t, <-sent)
			assert.Equal(t, tt.want.Type, got.Type, "%s of %s", how, tt.name)
			assert.Equal(t, string(tt.want.Data), string(got.Data), "%s of %s", how, tt.name)
		}
	}
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{MaxMessage: 10})
	ctx := limited(t)
	large, err := framing.Encode(make([]byte, 11))
	require.NoError(t, err)
	require.ErrorIs(t, a.SendEncoded(ctx, large), framing.ErrTooBig)
	require.ErrorIs(t, a.Send(ctx, make([]byte, 11)), framing.ErrTooBig)
	require.Error(t, a.Send(ctx, math.Inf(1)))
	require.Error(t, a.Send(ctx, json.RawMessage("\xff")))
	require.Error(t, a.SendMessage(ctx, message(framing.Text, "\xff")))
	require.Error(t, a.SendMessage(ctx, message(framing.Close, "")))
	require.Error(t, a.SendMessage(ctx, framing.Message{}))
	require.Error(t, a.SendEncoded(ctx, framing.Encoded{}))
	_, err = framing.Encode(make(chan int))
	require.Error(t, err)

	require.NoError(t, a.Send(ctx, "ok"))
	m, err := b.Receive(ctx)
	require.NoError(t, err)
	assert.Equal(t, `"ok"`, string(m.Data))
}

func TestMessageDecode(t *testing.T) {
	t.Parallel()
	var p point
	require.NoError(t, message(framing.Text, `{"X":1,"Y":2}`).Decode(&p))
	assert.Equal(t, point{1, 2}, p)

	var v any
	require.NoError(t, message(framing.Text, `"a"`).Decode(&v))
	assert.Equal(t, "a", v)
	m := message(framing.Binary, "abc")
	require.NoError(t, m.Decode(&v))
	var b []byte
	require.NoError(t, m.Decode(&b))
	m.Data[0] = 'x'
	assert.Equal(t, []byte("abc"), b)
	assert.Equal(t, []byte("abc"), v)

	require.Error(t, m.Decode(&p))
	assert.Error(t, message(framing.Text, "plain").Decode(&v))
}

func TestSendFromManyKeepsOrderAndMessagesWhole(t *testing.T) {
	t.Parallel()
	const senders, each = 20, 500
	a, b := pair(t, framing.Options{MaxQueue: 4 << 10})
	ctx := limited(t)
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for i := range each {
				text := fmt.Sprintf("%d %d %s", sender, i, strings.Repeat("x", i*sender%3000))
				assert.NoError(t, a.SendMessage(ctx, message(framing.Text, text)))
			}
		})
	}
	next := make([]int, senders)
	for range senders * each {
		m, err := b.Receive(ctx)
		require.NoError(t, err)
		var sender, i int
		_, err = fmt.Sscan(string(m.Data), &sender, &i)
		require.NoError(t, err)
		require.Equal(t, next[sender], i)
		require.Len(t, m.Data, len(fmt.Sprintf("%d %d ", sender, i))+i*sender%3000)
		next[sender]++
	}
	wg.Wait()
}

func TestConnOverPipes(t *testing.T) {
	t.Parallel()
	tests := map[string]func() (a, b io.ReadWriteCloser){
		"net.Pipe":             func() (a, b io.ReadWriteCloser) { return net.Pipe() },
		"without deadlines":    func() (a, b io.ReadWriteCloser) { a, b = net.Pipe(); return plain{a}, plain{b} },
		"unix, without either": func() (a, b io.ReadWriteCloser) { a, b = socketPair(t); return plain{a}, plain{b} },
	}
	for name, pipe := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left, right := pipe()
			a, b := framing.New(left, framing.Options{}), framing.New(right, framing.Options{})
			ctx := limited(t)
			echoed := make(chan error)
			go func() {
				echoed <- b.Serve(ctx, func(m framing.Message) error { return b.SendMessage(ctx, m) })
			}()
			for i := range 200 {
				require.NoError(t, a.Send(ctx, i))
				m, err := a.Receive(ctx)
				require.NoError(t, err)
				var got int
				require.NoError(t, m.Decode(&got))
				require.Equal(t, i, got)
			}
			require.NoError(t, a.Close(framing.CodeNormal, "done"))
			closed, ok := errors.AsType[*framing.CloseError](<-echoed)
			require.True(t, ok)
			assert.Equal(t, framing.CloseError{Code: framing.CodeNormal, Reason: "done"}, *closed)
			assert.NoError(t, b.Close(framing.CodeNormal, ""))
		})
	}
}
