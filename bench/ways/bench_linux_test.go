package ways

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/internal/proc"
)

// BenchmarkConnection is a connection with one request and its answer, 32 of them at a time for each CPU. It reports the
// CPU time of all processes of the server, and that of the first one, which is the master where there is one.
//
//	go test -run '^$' -bench Connection -benchtime 20000x ./ways
func BenchmarkConnection(b *testing.B) {
	for _, w := range All() {
		b.Run(w.Name, func(b *testing.B) {
			if w.Lookup != nil && w.Lookup() != nil {
				b.Skip(w.Lookup())
			}
			s, err := w.Start(b.Context(), Config{Dir: b.TempDir()})
			require.NoError(b, err)
			defer func() { require.NoError(b, s.Stop()) }()
			all, first := proc.CPU(s.PIDs()...), proc.CPU(s.PIDs()[:1]...)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := exchange(b.Context(), s.Addr()); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			all, first = proc.CPU(s.PIDs()...)-all, proc.CPU(s.PIDs()[:1]...)-first
			b.ReportMetric(float64(all)/float64(b.N)/float64(time.Microsecond), "server-us/op")
			b.ReportMetric(float64(first)/float64(b.N)/float64(time.Microsecond), "first-us/op")
		})
	}
}

func exchange(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}
