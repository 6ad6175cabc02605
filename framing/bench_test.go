package framing_test

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// benchSize is the size of a message, in bytes.
const benchSize = 64

// BenchmarkRoundTrip sends 64 bytes there and back over a Unix socket, the raw bytes and as a message.
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
	})
	cancellable, cancel := context.WithCancel(b.Context())
	defer cancel()
	for name, ctx := range map[string]context.Context{"message": context.Background(), "message, context": cancellable} {
		b.Run(name, func(b *testing.B) {
			left, right := pair(b, framing.Options{})
			go func() {
				_ = right.Serve(ctx, func(m framing.Message) error { return right.SendMessage(ctx, m) })
			}()
			m := framing.Message{Type: framing.Binary, Data: make([]byte, benchSize)}
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, left.SendMessage(ctx, m))
				_, err := left.Receive(ctx)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkOneWay sends 64 bytes from so many goroutines to one that receives; an operation is a message that has
// arrived.
func BenchmarkOneWay(b *testing.B) {
	b.Run("raw/64 to a write", func(b *testing.B) {
		left, right := socketPair(b)
		done := make(chan struct{})
		go func() { defer close(done); drainRaw(right) }()
		batch := make([]byte, 64*benchSize)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%64 == 0 {
				_, err := left.Write(batch)
				require.NoError(b, err)
			}
		}
		left.Close()
		<-done
	})
	for _, senders := range []int{1, 2, 16, 256, 4096} {
		b.Run("senders="+strconv.Itoa(senders), func(b *testing.B) { benchOneWay(b, senders) })
	}
}

func benchOneWay(b *testing.B, senders int) {
	b.Helper()
	left, right := pair(b, framing.Options{})
	ctx, m := context.Background(), framing.Message{Type: framing.Binary, Data: make([]byte, benchSize)}
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
				_ = left.SendMessage(ctx, m)
			}
		})
	}
	for range b.N {
		if _, err := right.Receive(ctx); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
}

func drainRaw(c net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}
