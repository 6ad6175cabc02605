package invalidate

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/peer/bus"
)

const benchKeys = 1000

func benchKey(i int) string { return strconv.Itoa(i % benchKeys) }

// BenchmarkHit is a Get of what is stored: in otter alone, with the same bounds, and in a cache of one process and of two.
func BenchmarkHit(b *testing.B) {
	ctx := context.Background()
	keys := make([]string, benchKeys)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	load := func(context.Context, string) (int64, error) { return 7, nil }
	b.Run("otter", func(b *testing.B) {
		o := otter.Must(&otter.Options[string, int64]{
			MaximumSize: defaultEntries, ExpiryCalculator: otter.ExpiryWriting[string, int64](defaultLife),
		})
		defer o.StopAllGoroutines()
		for _, key := range keys {
			o.Set(key, 7)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = o.GetIfPresent(keys[i%benchKeys])
			i++
		}
	})
	hit := func(b *testing.B, c *Cache[string, int64]) {
		b.Helper()
		for _, key := range keys {
			_, err := c.Get(ctx, key)
			require.NoError(b, err)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = c.Get(ctx, keys[i%benchKeys])
			i++
		}
		require.LessOrEqual(b, c.Stats().Misses, uint64(2*benchKeys), "hits")
	}
	b.Run("alone", func(b *testing.B) { hit(b, cacheOf(b, nil, Options[string, int64]{}, load)) })
	b.Run("meshed", func(b *testing.B) {
		nodes := meshOf(b, 2)
		c := cacheOf(b, nodes[0].Bus, Options[string, int64]{}, load)
		awaitServing(b, c, cacheOf(b, nodes[1].Bus, Options[string, int64]{}, load))
		hit(b, c)
	})
}

// BenchmarkInvalidate is an Invalidate, and the same number of peers asked over the bus, all in this process.
func BenchmarkInvalidate(b *testing.B) {
	ctx := context.Background()
	for _, peers := range []int{1, 3, 7} {
		nodes := meshOf(b, peers+1)
		for _, n := range nodes {
			_, err := n.Subscribe("raw", func(context.Context, bus.Message) (any, error) { return []byte("ok"), nil })
			require.NoError(b, err)
		}
		require.NoError(b, nodes[0].Flush(ctx))
		time.Sleep(10 * time.Millisecond)
		b.Run(fmt.Sprintf("raw/peers=%d", peers), func(b *testing.B) {
			data := make([]byte, 32)
			b.ReportAllocs()
			for b.Loop() {
				answers, err := nodes[0].RequestAll(ctx, "raw", data)
				require.NoError(b, err)
				require.Len(b, answers, peers)
			}
		})
		b.Run(fmt.Sprintf("cache/peers=%d", peers), func(b *testing.B) {
			caches := make([]*Cache[string, int64], len(nodes))
			for i, n := range nodes {
				caches[i] = cacheOf(b, n.Bus, Options[string, int64]{}, func(context.Context, string) (int64, error) { return 7, nil })
			}
			awaitServing(b, caches...)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				require.NoError(b, caches[0].Invalidate(ctx, benchKey(i)))
				i++
			}
		})
	}
}

// BenchmarkInvalidateAtOnce is one Invalidate of many that run at a time, from each of 4 nodes in this process.
func BenchmarkInvalidateAtOnce(b *testing.B) {
	for _, callers := range []int{4, 64, 1024} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			caches := make([]*Cache[string, int64], 4)
			for i, n := range meshOf(b, len(caches)) {
				caches[i] = cacheOf(b, n.Bus, Options[string, int64]{}, func(context.Context, string) (int64, error) { return 7, nil })
			}
			awaitServing(b, caches...)
			var calling sync.WaitGroup
			b.ResetTimer()
			for i := range callers {
				calling.Go(func() {
					for j := range max(b.N/callers, 1) {
						if err := caches[i%len(caches)].Invalidate(context.Background(), benchKey(j)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			calling.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
