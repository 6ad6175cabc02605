package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// delayServer is a server of a known latency, in a process of its own.
type delayServer struct {
	cmd  *exec.Cmd
	addr string
	end  io.Closer
}

func startDelay(ctx context.Context, delay time.Duration) (*delayServer, error) {
	cmd, err := command(ctx, "delay")
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, delayVariable+"="+delay.String())
	end, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &delayServer{cmd: cmd, end: end}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("server: %w", err)
	}
	s.addr = strings.TrimSpace(line)
	return s, nil
}

func (s *delayServer) stop() {
	_ = s.end.Close()
	_ = s.cmd.Wait() // it ends with status 1
}

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
		err := s.cmd.Process.Signal(unix.SIGSTOP)
		time.Sleep(stall)
		done <- errors.Join(err, s.cmd.Process.Signal(unix.SIGCONT))
	})
	return done
}
