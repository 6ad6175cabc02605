package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// runDelay is the server of checks, which sleeps for a known time in each request. It ends with its standard input.
func runDelay(delay time.Duration) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(delay)
		_, _ = w.Write([]byte("hello\n")) // a client that has gone needs no answer
	})
	return child.Serve(func() error { return http.Serve(l, handler) }, l.Close)
}

// delayServer is a server of a known latency, in a process of its own.
type delayServer struct {
	*child.Process
	addr string
}

func startDelay(delay time.Duration) (s delayServer, err error) {
	if s.Process, err = child.Run(delayRole, delay); err != nil {
		return s, err
	}
	if s.addr, err = s.Line(0, ""); err != nil {
		s.stop()
	}
	return s, err
}

func (s delayServer) stop() { _ = s.Stop(nil) } // what it was asked is answered

// load loads s, and stops it for a time if that is not 0.
func (s delayServer) load(ctx context.Context, p Plan, stall time.Duration) (result Result, err error) {
	p.Addrs = []string{s.addr}
	r, err := Start(ctx, p)
	if err != nil {
		return result, err
	}
	<-r.Begun()
	if stall > 0 {
		err = s.stallAfter(p.Duration/3, stall)
	}
	result, waitErr := r.Wait()
	if n := result.Failures(); n > 0 {
		err = errors.Join(err, fmt.Errorf("load: %d requests have failed: %v", n, result.Failed))
	}
	return result, errors.Join(err, waitErr)
}

// stallAfter stops s for a time, after another.
func (s delayServer) stallAfter(after, stall time.Duration) error {
	time.Sleep(after)
	err := s.Signal(syscall.SIGSTOP)
	time.Sleep(stall)
	return errors.Join(err, s.Signal(syscall.SIGCONT))
}
