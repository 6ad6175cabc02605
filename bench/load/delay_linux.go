package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// delayServer is a server of a known latency, in a process of its own.
type delayServer struct {
	process *child.Process
	addr    string
}

func startDelay(ctx context.Context, delay time.Duration) (*delayServer, error) {
	cmd, err := child.Command(ctx, delayRole, delay)
	if err != nil {
		return nil, err
	}
	s := new(delayServer)
	if s.process, err = child.Start("server", cmd); err != nil {
		return nil, err
	}
	if s.addr, err = s.process.Line(0, ""); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *delayServer) stop() { _ = s.process.Stop(nil) } // it ends with status 1

// load loads s, and stops it for a time if that is not 0.
func (s *delayServer) load(ctx context.Context, p Plan, stall time.Duration) (m measured, err error) {
	p.Addr = s.addr
	r, err := Start(ctx, p)
	if err != nil {
		return m, err
	}
	<-r.Begun()
	if stall > 0 {
		err = <-s.stallAfter(p.Duration/3, stall)
	}
	result, waitErr := r.Wait()
	if err = errors.Join(err, waitErr); err != nil {
		return m, err
	}
	if n := result.Failures(); n > 0 {
		return m, fmt.Errorf("load: %d requests have failed: %v", n, result.Failed)
	}
	return measured{result.Rate, result.Requests, result.Latency}, nil
}

// stallAfter stops s for a time, after another. The channel gets one value.
func (s *delayServer) stallAfter(after, stall time.Duration) <-chan error {
	done := make(chan error, 1)
	time.AfterFunc(after, func() {
		err := s.process.Signal(unix.SIGSTOP)
		time.Sleep(stall)
		done <- errors.Join(err, s.process.Signal(unix.SIGCONT))
	})
	return done
}
