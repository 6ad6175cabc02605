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
	"time"

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

func TestReceiveWaitsForAnotherReceive(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx := limited(t)
	const receivers = 5
	got := make(chan error, receivers)
	for range receivers {
		go func() {
			_, err := b.Receive(ctx)
			got <- err
		}()
	}
	for range receivers {
		require.NoError(t, a.Send(ctx, 1))
	}
	for range receivers {
		assert.NoError(t, <-got)
	}
}

func TestReceiveCancelled(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(right, framing.Options{CloseTimeout: time.Millisecond})
	defer c.Close(framing.CodeNormal, "")
	whole := last(framing.Text, "hello")
	for i := range whole {
		_, err := left.Write(whole[i : i+1])
		require.NoError(t, err)
		if i == len(whole)-1 {
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err = c.Receive(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
		_, err = c.Receive(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	m, err := c.Receive(limited(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(m.Data))
}

func TestReceiveCancelledWhileAnotherWaits(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	first, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, err := b.Receive(first)
		got <- err
	}()
	second := limited(t)
	go func() {
		_, err := b.Receive(second)
		got <- err
	}()
	cancel()
	require.ErrorIs(t, <-got, context.Canceled)
	require.NoError(t, a.Send(second, 1))
	assert.NoError(t, <-got)
}

// plain hides the deadlines of a stream.
type plain struct{ io.ReadWriteCloser }

func TestReceiveCancelledWithoutDeadlines(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(plain{right}, framing.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := left.Write(last(framing.Binary, "a"))
	require.NoError(t, err)
	_, err = c.Receive(ctx)
	require.NoError(t, err)
	cancel()
	_, err = c.Receive(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, c.Send(t.Context(), []byte("b")), "no read was in flight")
	_, err = io.ReadFull(left, make([]byte, 3))
	require.NoError(t, err)

	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	_, err = c.Receive(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = left.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = c.Receive(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, c.Send(t.Context(), 1), context.Canceled)
	require.Error(t, c.Close(framing.CodeNormal, ""))
	assert.ErrorIs(t, c.Send(t.Context(), 1), io.ErrClosedPipe)
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

func TestServeReturnsTheErrorOfHandle(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	require.NoError(t, a.Send(t.Context(), 1))
	want := errors.New("enough")
	assert.Equal(t, want, b.Serve(limited(t), func(framing.Message) error { return want }))
}

func TestPing(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx := limited(t)
	var wg sync.WaitGroup
	for _, c := range []*framing.Conn{a, b} {
		wg.Go(func() { _ = c.Serve(ctx, func(framing.Message) error { return nil }) })
	}
	var pings sync.WaitGroup
	for range 10 {
		for _, c := range []*framing.Conn{a, b} {
			pings.Go(func() { assert.NoError(t, c.Ping(ctx)) })
		}
	}
	pings.Wait()
	closeBoth(a, b)
	wg.Wait()
	assert.ErrorIs(t, a.Ping(ctx), io.ErrClosedPipe)
}

func TestPingEnds(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.Ping(ctx), context.DeadlineExceeded, "nobody receives")

	failed := make(chan error, 1)
	go func() { failed <- a.Ping(limited(t)) }()
	closeBoth(a, b)
	assert.ErrorIs(t, <-failed, io.ErrClosedPipe)
}

// RFC 6455, section 5.5.3: a pong may answer several pings, or none.
func TestPongs(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(left, framing.Options{CloseTimeout: time.Millisecond})
	defer c.Close(framing.CodeNormal, "")
	ctx := limited(t)
	received := make(chan error, 1)
	go func() {
		_, err := c.Receive(ctx)
		received <- err
	}()
	pinged := make(chan error, 2)
	for range 2 {
		go func() { pinged <- c.Ping(ctx) }()
	}
	pings := make([]byte, 20)
	_, err := io.ReadFull(right, pings)
	require.NoError(t, err)
	for _, pong := range []string{"", "unasked", strings.Repeat("\xff", 8), string(pings[12:])} {
		_, err = right.Write(masked(last(framing.Pong, pong)))
		require.NoError(t, err)
	}
	assert.NoError(t, <-pinged)
	assert.NoError(t, <-pinged)
	_, err = right.Write(last(framing.Text, ""))
	require.NoError(t, err)
	assert.NoError(t, <-received)
}
