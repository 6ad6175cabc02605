package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errNoWrk tells how to get the program that we are compared with.
var errNoWrk = errors.New("wrk is not installed: sudo apt-get install wrk")

// script lets wrk tell all its latencies, in microseconds, and how often it has seen them.
const script = `
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("summary %d %d %d %d\n", summary.requests, summary.duration, e.timeout,
    e.connect + e.read + e.write + e.status))
  for i = 1, #latency do
    io.write(string.format("latency %d %d\n", latency(i)))
  end
end
`

// wrk is a closed loop of so many connections, for some whole seconds. From version 4 on, wrk corrects its latencies: for
// each that is longer than twice the mean time between two requests of a connection, it adds those that it might have seen
// had it sent on. shown is what it shows so; raw is what it has measured.
func wrk(ctx context.Context, addr string, connections int, duration time.Duration) (raw, shown Result, err error) {
	dir, err := os.MkdirTemp("", "wrk")
	if err != nil {
		return raw, shown, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "done.lua")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return raw, shown, err
	}
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), fmt.Sprintf("-d%.0fs", duration.Seconds()),
		"--timeout", "10s", "-s", file, "http://"+addr+"/").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return raw, shown, errNoWrk
	} else if err != nil {
		return raw, shown, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return parseWrk(string(out), connections)
}

func parseWrk(out string, connections int) (raw, shown Result, err error) {
	counts := make(map[int64]int64) // of latencies in microseconds
	var requests, runtime, late, failures int64
	for line := range strings.Lines(out) {
		var value, count int64
		if n, _ := fmt.Sscanf(line, "latency %d %d", &value, &count); n == 2 {
			counts[value] += count
		}
		_, _ = fmt.Sscanf(line, "summary %d %d %d %d", &requests, &runtime, &late, &failures) // most lines are others
	}
	if requests < int64(connections) || failures > 0 {
		return raw, shown, fmt.Errorf("wrk: %d requests, and %d that failed: %s", requests, failures, out)
	}
	rate := float64(requests) / (float64(runtime) / 1e6)
	shown = Result{Rate: rate, Latency: histogramOf(counts)}
	uncorrect(counts, runtime/(requests/int64(connections)))
	raw = Result{Rate: rate, Latency: histogramOf(counts)}
	if n := raw.Latency.TotalCount(); n != requests-late {
		return raw, shown, fmt.Errorf("wrk: its correction is not that of version 4: %d latencies of %d requests", n, requests)
	}
	return raw, shown, nil
}

// uncorrect takes away what wrk has added. It has gone from short latencies to long ones and only added to shorter ones, so
// from long to short each count is that of the measured ones.
func uncorrect(counts map[int64]int64, interval int64) {
	for _, value := range slices.Backward(slices.Sorted(maps.Keys(counts))) {
		count := counts[value]
		if value < 2*interval || count == 0 {
			continue
		}
		for added := value - interval; added > interval; added -= interval {
			counts[added] -= count
		}
	}
}

func histogramOf(counts map[int64]int64) Histogram {
	h := NewHistogram()
	for micros, count := range counts {
		h.Record(time.Duration(micros)*time.Microsecond, count)
	}
	return h
}
