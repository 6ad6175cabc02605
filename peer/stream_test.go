package peer

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// streamPair returns both ends of a stream.
func streamPair(t *testing.T) (dialed, accepted *Stream) {
	t.Helper()
	d := openTemp(t)
	low, onLow := hold(t)
	high, onHigh := hold(t)
	joinTest(t, d, Options{Self: Info{ID: 0}}, onLow)
	joinTest(t, d, Options{Self: Info{ID: 1}}, onHigh)
	return receive(t, low), receive(t, high)
}

// hold returns an OnStream that hands streams out and holds them, unread, until the test ends.
func hold(t *testing.T) (streams chan *Stream, onStream func(*Stream)) {
	t.Helper()
	streams = make(chan *Stream, 100)
	return streams, func(s *Stream) {
		streams <- s
		<-t.Context().Done()
	}
}

func TestStreamCloseWrite(t *testing.T) {
	a, b := streamPair(t)
	_, err := a.Write([]byte("question"))
	require.NoError(t, err)
	require.NoError(t, a.CloseWrite())
	got, err := io.ReadAll(b)
	require.NoError(t, err)
	assert.Equal(t, "question", string(got))
	_, err = b.Write([]byte("answer"))
	require.NoError(t, err)
	require.NoError(t, b.Close())
	got, err = io.ReadAll(a)
	require.NoError(t, err)
	assert.Equal(t, "answer", string(got))
}

func TestStreamCloseDuringRead(t *testing.T) {
	a, _ := streamPair(t)
	read := make(chan error, 1)
	go func() { // ended by Close
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	require.NoError(t, a.Close())
	assert.ErrorIs(t, receive(t, read), net.ErrClosed)
}

func TestStreamDeadlines(t *testing.T) {
	a, _ := streamPair(t)
	past := time.Now().Add(-time.Second)
	require.NoError(t, a.SetReadDeadline(past))
	_, err := a.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, a.SetWriteDeadline(past))
	_, err = a.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, a.SetDeadline(time.Time{}))
	_, err = a.Write([]byte("x"))
	assert.NoError(t, err)
}

func TestStreamEarlyBytesToManyReaders(t *testing.T) {
	s := &Stream{early: []byte("0123456789")}
	var group sync.WaitGroup
	got := make(chan byte, 10)
	for range 10 {
		group.Go(func() {
			b := make([]byte, 1)
			if n, err := s.Read(b); n == 1 && err == nil {
				got <- b[0]
			}
		})
	}
	group.Wait()
	close(got)
	var all []byte
	for b := range got {
		all = append(all, b)
	}
	assert.ElementsMatch(t, []byte("0123456789"), all)
}
