package compare

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/report"
	"github.com/multinode-go/multinode/bench/ways"
)

// stallWorker stops the last worker for a moment: it is not the first process of a server, which may be its master, too.
func stallWorker(ctx context.Context, s *ways.Server) (report.Figures, error) {
	workers := s.Workers()
	if len(workers) == 0 {
		return nil, errors.New("there is no worker to be stalled")
	}
	pid := slices.Max(workers)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stop worker %d: %w", pid, err)
	}
	select {
	case <-time.After(stall):
	case <-ctx.Done():
	}
	return nil, unix.Kill(pid, unix.SIGCONT)
}

// restart replaces all workers, and measures how long it takes until one that is new has answered.
func restart(ctx context.Context, s *ways.Server) (report.Figures, error) {
	old := s.Workers()
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	serves := make(chan time.Duration, 1)
	go func() { // ends with ctx
		for ctx.Err() == nil {
			if pid, err := askWorker(ctx, s.Addr()); err == nil && !slices.Contains(old, pid) {
				serves <- time.Since(begin)
				return
			}
			time.Sleep(probeInterval)
		}
	}()
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	select {
	case took := <-serves:
		return report.Figures{report.Restart: milliseconds(took)}, nil
	case <-time.After(restartWithin):
		return nil, errors.New("no new worker has answered after the restart")
	}
}

const (
	restartWithin = 5 * time.Second
	probeInterval = time.Millisecond
)

// prober asks on a connection of its own each time.
var prober = http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// askWorker returns which worker has answered.
func askWorker(ctx context.Context, addr string) (pid int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := prober.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return strconv.Atoi(response.Header.Get("Worker"))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
