package framing_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

func TestReceiveBatchTakesWhatHasArrived(t *testing.T) {
	t.Parallel()
	left, right := socketPair(t)
	c := framing.New(right, framing.Options{})
	ctx := limited(t)
	var batch []byte
	for _, text := range []string{"1", "2", "3"} {
		batch = append(batch, last(framing.Text, text)...)
		batch = append(batch, last(framing.Ping, text)...)
	}
	part := last(framing.Text, "4")
	_, err := left.Write(append(batch, part[0]))
	require.NoError(t, err)

	var got []string
	take := func(m framing.Message) error {
		got = append(got, string(m.Data))
		return nil
	}
	stop := errors.New("stop")
	err = c.ReceiveBatch(ctx, func(framing.Message) error { return stop })
	require.ErrorIs(t, err, stop)
	require.NoError(t, c.ReceiveBatch(ctx, take))
	assert.Equal(t, []string{"2", "3"}, got)

	_, err = left.Write(append(part[1:], last(framing.Close, "")...))
	require.NoError(t, err)
	require.NoError(t, c.ReceiveBatch(ctx, take), "the message before the end comes first")
	assert.Equal(t, []string{"2", "3", "4"}, got)
	closed := new(framing.CloseError)
	require.ErrorAs(t, c.ReceiveBatch(ctx, take), &closed)
	require.NoError(t, c.Close(framing.CodeNormal, ""))
	require.ErrorIs(t, c.ReceiveBatch(ctx, take), io.ErrClosedPipe)
}

// tryStream is a stream with a TryWrite that takes a part of what it gets, and fails when it is told to.
type tryStream struct {
	net.Conn
	part  func(size int) int
	err   error
	tried atomic.Int64
}

func (s *tryStream) TryWrite(p []byte) (int, error) {
	s.tried.Add(1)
	if s.err != nil {
		return 0, s.err
	}
	return s.Write(p[:s.part(len(p))])
}

func TestSendWithTryWrite(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]func(int) int{
		"all":     func(size int) int { return size },
		"half":    func(size int) int { return size / 2 },
		"nothing": func(int) int { return 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left, right := socketPair(t)
			stream := &tryStream{Conn: left, part: part}
			a, b := framing.New(stream, framing.Options{}), framing.New(right, framing.Options{})
			ctx := limited(t)
			for i := range 100 {
				require.NoError(t, a.Send(ctx, i))
				m, err := b.Receive(ctx)
				require.NoError(t, err)
				var got int
				require.NoError(t, m.Decode(&got))
				require.Equal(t, i, got)
			}
			closeBoth(a, b)
			assert.Positive(t, stream.tried.Load())
		})
	}
}

func TestSendWithTryWriteThatFails(t *testing.T) {
	t.Parallel()
	left, _ := socketPair(t)
	stream := &tryStream{Conn: left, err: errors.New("broken")}
	c := framing.New(stream, framing.Options{})
	require.NoError(t, c.Send(t.Context(), 1))
	<-c.Done()
	require.ErrorIs(t, c.Err(), stream.err)
	require.ErrorIs(t, c.Send(t.Context(), 1), stream.err)
	assert.Error(t, c.Close(framing.CodeNormal, ""))
}

func TestMessageOf(t *testing.T) {
	t.Parallel()
	data := []byte("abc")
	m, err := framing.MessageOf(data)
	require.NoError(t, err)
	assert.Equal(t, framing.Binary, m.Type)
	assert.Same(t, &data[0], &m.Data[0])
	m, err = framing.MessageOf("abc")
	require.NoError(t, err)
	assert.Equal(t, message(framing.Text, `"abc"`), m)
	_, err = framing.MessageOf(message(framing.Text, "\xff"))
	require.Error(t, err)
	_, err = framing.MessageOf(make(chan int))
	assert.Error(t, err)
}
