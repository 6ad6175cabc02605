package framing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

func TestCloseEndsTheOtherSide(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 100)
	tests := []struct {
		name   string
		code   framing.Code
		reason string
		want   framing.CloseError
	}{
		{"code and reason", 4000, "because", framing.CloseError{Code: 4000, Reason: "because"}},
		{"code", framing.CodeGoingAway, "", framing.CloseError{Code: framing.CodeGoingAway}},
		{"neither", framing.CodeNone, "lost", framing.CloseError{Code: framing.CodeNone}},
		{"code that may not be sent", 1006, "", framing.CloseError{Code: framing.CodeInternal}},
		{"long reason", framing.CodeNormal, long, framing.CloseError{Code: framing.CodeNormal, Reason: long[:122]}},
		{"reason not UTF-8", framing.CodeNormal, "a\xff", framing.CloseError{Code: framing.CodeNormal, Reason: "a\ufffd"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, framing.Options{})
			ctx := limited(t)
			closed := make(chan error, 1)
			go func() { closed <- a.Close(tt.code, tt.reason) }()
			_, err := b.Receive(ctx)
			got, ok := errors.AsType[*framing.CloseError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, tt.want, *got)
			assert.NotEmpty(t, got.Error())
			require.ErrorIs(t, b.Send(ctx, 1), got)
			require.ErrorIs(t, b.Ping(ctx), got)
			assert.NoError(t, <-closed)
			assert.NoError(t, b.Close(framing.CodeNormal, ""))
			for _, c := range []*framing.Conn{a, b} {
				_, err = c.Receive(ctx)
				require.ErrorIs(t, err, io.ErrClosedPipe)
				require.ErrorIs(t, c.Send(ctx, 1), io.ErrClosedPipe)
				require.ErrorIs(t, c.Ping(ctx), io.ErrClosedPipe)
				assert.NoError(t, c.Close(framing.CodeNormal, ""))
			}
		})
	}
}

func TestCloseFromBothSidesManyTimes(t *testing.T) {
	t.Parallel()
	for range 20 {
		a, b := pair(t, framing.Options{})
		var wg sync.WaitGroup
		for range 3 {
			for _, c := range []*framing.Conn{a, b} {
				wg.Go(func() { assert.NoError(t, c.Close(framing.CodeNormal, "")) })
				wg.Go(func() { assert.Error(t, c.Serve(t.Context(), func(framing.Message) error { return nil })) })
			}
		}
		wg.Wait()
	}
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	ctx := limited(t)
	const messages, size = 20, 50_000
	for range messages {
		require.NoError(t, a.Send(ctx, make([]byte, size)))
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Close(framing.CodeNormal, "") }()
	for range messages {
		m, err := b.Receive(ctx)
		require.NoError(t, err)
		require.Len(t, m.Data, size)
	}
	_, err := b.Receive(ctx)
	_, ok := errors.AsType[*framing.CloseError](err)
	require.True(t, ok, "%v", err)
	assert.NoError(t, <-closed)
}

func TestCloseDropsWhatArrivesMeanwhile(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	for range 100 {
		require.NoError(t, b.Send(t.Context(), make([]byte, 1000)))
	}
	closeBoth(a, b)
	assert.NoError(t, a.Close(framing.CodeNormal, ""))
}

func TestCloseLeavesTheLastMessageAlone(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 100_000} {
		a, b := pair(t, framing.Options{})
		ctx := limited(t)
		want := bytes.Repeat([]byte("x"), size)
		require.NoError(t, a.Send(ctx, want))
		m, err := b.Receive(ctx)
		require.NoError(t, err)
		for range 10 {
			require.NoError(t, a.Send(ctx, make([]byte, 50_000)))
		}
		closeBoth(a, b)
		assert.Equal(t, want, m.Data)
	}
}

func TestCloseIsBoundedWhenThePeerIsSilent(t *testing.T) {
	t.Parallel()
	for _, hidden := range []bool{false, true} {
		left, _ := socketPair(t)
		stream := io.ReadWriteCloser(left)
		if hidden {
			stream = plain{left}
		}
		c := framing.New(stream, framing.Options{CloseTimeout: 10 * time.Millisecond})
		for range 20 { // more than a socket takes
			require.NoError(t, c.Send(t.Context(), make([]byte, 50_000)))
		}
		received := make(chan error, 1)
		go func() {
			_, err := c.Receive(t.Context())
			received <- err
		}()
		start := time.Now()
		require.ErrorIs(t, c.Close(framing.CodeNormal, ""), context.DeadlineExceeded)
		assert.Less(t, time.Since(start), patient)
		assert.ErrorIs(t, <-received, io.ErrClosedPipe)
	}
}

func TestCloseUnblocksSend(t *testing.T) {
	t.Parallel()
	left, _ := socketPair(t)
	c := framing.New(left, framing.Options{MaxQueue: 1000, CloseTimeout: 10 * time.Millisecond})
	failed := make(chan error)
	for range 3 {
		go func() {
			for {
				if err := c.Send(t.Context(), make([]byte, 1000)); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	require.Error(t, c.Close(framing.CodeNormal, ""))
	for range 3 {
		assert.ErrorIs(t, <-failed, io.ErrClosedPipe)
	}
}

func TestCloseWithinServe(t *testing.T) {
	t.Parallel()
	a, b := pair(t, framing.Options{})
	require.NoError(t, a.Send(t.Context(), 1))
	go func() { _, _ = a.Receive(limited(t)) }()
	err := b.Serve(limited(t), func(framing.Message) error { return b.Close(framing.CodeNormal, "") })
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestPeerGone(t *testing.T) {
	t.Parallel()
	tests := map[string][]byte{
		"between frames":     nil,
		"within a header":    {0x82},
		"within a frame":     last(framing.Binary, "abcdef")[:5],
		"within a message":   fragment(framing.Binary, "abcdef"),
		"within a large one": {0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3},
	}
	for name, sent := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left, right := socketPair(t)
			c := framing.New(left, framing.Options{})
			_, err := right.Write(sent)
			require.NoError(t, err)
			require.NoError(t, right.Close())
			_, err = c.Receive(t.Context())
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.ErrorIs(t, c.Send(t.Context(), 1), io.ErrUnexpectedEOF)
			assert.ErrorIs(t, c.Close(framing.CodeNormal, ""), io.ErrUnexpectedEOF)
		})
	}
}

func TestPeerGoneWhileSending(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(left, framing.Options{MaxQueue: 1000})
	failed := make(chan error, 1)
	go func() {
		for {
			if err := c.Send(t.Context(), make([]byte, 100_000)); err != nil {
				failed <- err
				return
			}
		}
	}()
	_, err := io.ReadFull(right, make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, right.Close())
	require.Error(t, <-failed)
	require.Error(t, c.Ping(t.Context()))
	assert.Error(t, c.Close(framing.CodeNormal, ""))
}

func TestViolationIsTold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   [][]byte
		code framing.Code
	}{
		{"protocol", [][]byte{last(framing.Text, "fine"), rawFrame(0xf1, "")}, framing.CodeProtocol},
		{"close code", [][]byte{last(framing.Text, "fine"), last(framing.Close, closePayload(1005, ""))}, framing.CodeProtocol},
		{"UTF-8", [][]byte{last(framing.Text, "fine"), last(framing.Text, "\xff")}, framing.CodeInvalidData},
		{"size", [][]byte{last(framing.Text, "fine"), last(framing.Text, "12345"), {0, 0, 0}}, framing.CodeTooBig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			left, right := socketPair(t)
			c := framing.New(left, framing.Options{MaxMessage: 4})
			_, err := right.Write(bytes.Join(tt.in, nil))
			require.NoError(t, err)
			_, err = c.Receive(t.Context())
			require.NoError(t, err)
			_, err = c.Receive(t.Context())
			violation, ok := errors.AsType[*framing.ProtocolError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, tt.code, violation.Code)
			require.ErrorIs(t, c.Send(t.Context(), 1), violation)

			buf := make([]byte, 200)
			n, err := right.Read(buf)
			require.NoError(t, err)
			told, err := decode(framing.NewDecoder(0), buf[:n], n)
			require.ErrorIs(t, err, io.EOF)
			require.Len(t, told, 1)
			assert.Equal(t, framing.Close, told[0].Type)
			assert.Equal(t, closePayload(uint16(tt.code), ""), string(told[0].Data[:2]))
			require.NoError(t, right.Close())
			assert.ErrorIs(t, c.Close(framing.CodeNormal, ""), violation)
		})
	}
}

// What is not read when a TCP connection is closed resets it, and the close frame may be lost.
func TestViolationIsToldToWhoGoesOnWriting(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer peer.Close()
	stream, err := l.Accept()
	require.NoError(t, err)
	c := framing.New(stream, framing.Options{CloseTimeout: patient}) // so long may the writing take
	_, err = peer.Write([]byte{0xff, 0xff})
	require.NoError(t, err)
	_, err = c.Receive(t.Context())
	require.Error(t, err)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(framing.CodeNormal, "") }()
	_, err = peer.Write(make([]byte, 32<<20)) // more than the sockets take
	require.NoError(t, err)
	told := make([]byte, 4)
	_, err = io.ReadFull(peer, told)
	require.NoError(t, err)
	assert.Equal(t, closePayload(uint16(framing.CodeProtocol), ""), string(told[2:]))
	require.NoError(t, peer.Close())
	assert.Error(t, <-closed)
}

// answers are possible answers of a peer to the close frame after its violation.
var answers = map[string][]byte{
	"without a code":        last(framing.Close, ""),
	"the code":              last(framing.Close, closePayload(1002, "")),
	"another code":          last(framing.Close, closePayload(1000, "sorry")),
	"longest reason":        last(framing.Close, closePayload(4999, strings.Repeat("x", 123))),
	"masked":                masked(last(framing.Close, closePayload(1002, ""))),
	"masked without a code": masked(last(framing.Close, "")),
}

// violations are frames that a peer may not send.
var violations = map[string][]byte{
	"reserved bit":               rawFrame(0xc1, "abc"),
	"unknown opcode":             rawFrame(0x83, "abc"),
	"half of a long frame":       {0xff, 127, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3},
	"too large":                  rawFrame(0x82, strings.Repeat("x", 200)),
	"length of 64 bits":          {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	"text that is not UTF-8":     last(framing.Text, "\xff"),
	"a part that is not UTF-8":   append(fragment(framing.Text, "\xff"), last(0, "abc")...),
	"continuation of nothing":    last(0, "abc"),
	"fragmented ping":            fragment(framing.Ping, ""),
	"garbage without any frames": []byte("\xf1GET / HTTP/1.1\r\n\r\n"),
}

// refused writes sent to c from stream, sees that c refuses it, and closes c. It returns what Close returns.
func refused(t *testing.T, c *framing.Conn, stream io.Writer, sent []byte) <-chan error {
	t.Helper()
	go func() { _, _ = stream.Write(sent) }() // a pipe takes what is read, and that ends at the violation
	_, err := c.Receive(t.Context())
	_, ok := errors.AsType[*framing.ProtocolError](err)
	require.True(t, ok, "%v", err)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(framing.CodeNormal, "") }()
	return closed
}

// told reads the close frame with which a violation is answered.
func told(t *testing.T, stream io.Reader) {
	t.Helper()
	head := make([]byte, 2)
	_, err := io.ReadFull(stream, head)
	require.NoError(t, err)
	require.Equal(t, byte(fin|framing.Close), head[0])
	_, err = io.ReadFull(stream, make([]byte, head[1]))
	require.NoError(t, err)
}

// Section 7.1.1: when both sides have sent a close frame, the stream is closed at once.
func TestViolationIsOverWithTheAnswer(t *testing.T) {
	t.Parallel()
	for what, sent := range violations {
		for how, answer := range answers {
			t.Run(what+", "+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					left, right := net.Pipe()
					c := framing.New(left, framing.Options{MaxMessage: 100})
					start := time.Now()
					closed := refused(t, c, right, sent)
					told(t, right)
					_, err := right.Write(answer)
					require.NoError(t, err)
					_, err = right.Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF)
					require.Error(t, <-closed)
					assert.Zero(t, time.Since(start))
				})
			})
		}
	}
}

func TestViolationOfTheCloseFrameIsOverWithIt(t *testing.T) {
	t.Parallel()
	for what, sent := range map[string][]byte{
		"code":       last(framing.Close, closePayload(1005, "")),
		"half":       last(framing.Close, "a"),
		"UTF-8":      last(framing.Close, closePayload(1000, "\xff")),
		"large":      last(framing.Close, closePayload(1000, strings.Repeat("x", 124))),
		"reserved":   rawFrame(0xc8, closePayload(1000, "")),
		"fragmented": fragment(framing.Close, closePayload(1000, "")),
		"masked":     masked(last(framing.Close, closePayload(999, ""))),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				left, right := net.Pipe()
				c := framing.New(left, framing.Options{})
				start := time.Now()
				closed := refused(t, c, right, sent)
				told(t, right)
				_, err := right.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				require.Error(t, <-closed)
				assert.Zero(t, time.Since(start))
			})
		})
	}
}

// The answer may come in pieces, and behind much else that was on its way.
func TestViolationAnsweredByAndBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left, right := net.Pipe()
		c := framing.New(left, framing.Options{CloseTimeout: time.Hour})
		start := time.Now()
		closed := refused(t, c, right, rawFrame(0xc1, "abc"))
		told(t, right)
		for range 1000 {
			_, err := right.Write(last(framing.Binary, strings.Repeat("x", 1000)))
			require.NoError(t, err)
		}
		for _, b := range last(framing.Close, closePayload(4000, strings.Repeat("x", 123))) {
			time.Sleep(time.Second)
			_, err := right.Write([]byte{b})
			require.NoError(t, err)
		}
		require.Error(t, <-closed)
		assert.Equal(t, 127*time.Second, time.Since(start))
	})
}

func TestViolationByAPeerThatGoesOnWritingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left, right := net.Pipe()
		c := framing.New(left, framing.Options{CloseTimeout: time.Minute})
		start := time.Now()
		closed := refused(t, c, right, rawFrame(0xc1, "abc"))
		told(t, right)
		var writer sync.WaitGroup
		writer.Go(func() {
			var err error
			for err == nil {
				_, err = right.Write(last(framing.Binary, strings.Repeat("x", 1000)))
				time.Sleep(time.Second)
			}
		})
		require.ErrorIs(t, <-closed, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(start))
		writer.Wait()
	})
}

// Both sides may break the protocol: the dialer, which masks its frames as a browser does, and the listener.
func TestViolationOverTCP(t *testing.T) {
	t.Parallel()
	for name, dials := range map[string]bool{"by the dialer": true, "by the listener": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			breaks, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			defer breaks.Close()
			holds, err := l.Accept()
			require.NoError(t, err)
			bad, answer := last(framing.Text, "\xff"), last(framing.Close, closePayload(1007, ""))
			if dials {
				bad, answer = masked(bad), masked(answer)
			} else {
				breaks, holds = holds, breaks
			}
			c := framing.New(holds, framing.Options{CloseTimeout: time.Hour})
			closed := refused(t, c, breaks, bad)
			told(t, breaks)
			_, err = breaks.Write(answer)
			require.NoError(t, err)
			require.NoError(t, breaks.SetReadDeadline(time.Now().Add(patient)))
			_, err = breaks.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF, "an end, no reset")
			assert.Error(t, <-closed)
		})
	}
}
