package bus

import (
	"context"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// benchSize is the size of a message, in bytes.
const benchSize = 64

// BenchmarkRoundTrip sends 64 bytes there and back over a Unix socket, the raw bytes and as a request.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		left, right := socketPair(b)
		go func() {
			_, _ = io.CopyBuffer(struct{ io.Writer }{right}, struct{ io.Reader }{right}, make([]byte, benchSize))
		}()
		buf := make([]byte, benchSize)
		b.ReportAllocs()
		for b.Loop() {
			_, err := left.Write(buf)
			require.NoError(b, err)
			_, err = io.ReadFull(left, buf)
			require.NoError(b, err)
		}
		left.Close()
		right.Close()
	})
	b.Run("request", func(b *testing.B) {
		left, right := pair(b, Options{})
		subscribe(b, right, "echo", echo)
		ctx, data := context.Background(), make([]byte, benchSize)
		b.ReportAllocs()
		for b.Loop() {
			_, err := left.Request(ctx, right.info.ID, "echo", data)
			require.NoError(b, err)
		}
	})
}

// BenchmarkOneWay sends 64 bytes from so many goroutines; an operation is a message that was handled.
func BenchmarkOneWay(b *testing.B) {
	for _, senders := range []int{1, 16, 256} {
		b.Run("senders="+strconv.Itoa(senders), func(b *testing.B) { benchOneWay(b, senders) })
	}
}

func benchOneWay(b *testing.B, senders int) {
	b.Helper()
	left, right := pair(b, Options{})
	var handled atomic.Int64
	done := make(chan struct{})
	subscribe(b, right, "t", func(context.Context, Message) (any, error) {
		if handled.Add(1) == int64(b.N) {
			close(done)
		}
		return nil, nil //nolint:nilnil // an empty answer
	})
	ctx, data := context.Background(), make([]byte, benchSize)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range senders {
		n := b.N / senders
		if i == 0 {
			n += b.N % senders
		}
		wg.Go(func() {
			for range n {
				_ = left.Send(ctx, right.info.ID, "t", data)
			}
		})
	}
	wg.Wait()
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
}
