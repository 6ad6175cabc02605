package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
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
	program, err := exec.LookPath("wrk")
	if err != nil {
		return raw, shown, errNoWrk
	}
	dir, err := os.MkdirTemp("", "wrk")
	if err != nil {
		return raw, shown, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "done.lua")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		return raw, shown, err
	}
	seconds := strconv.Itoa(int(duration.Seconds()))
	out, err := exec.CommandContext(ctx, program, "-t1", "-c"+strconv.Itoa(connections), "-d"+seconds+"s", "--timeout", "10s",
		"-s", file, "http://"+addr+"/").CombinedOutput()
	if err != nil {
		return raw, shown, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return parseWrk(out, connections)
}

func parseWrk(out []byte, connections int) (raw, shown Result, err error) {
	counts := make(map[int64]int64) // of latencies in microseconds
	var requests, runtime, late, failures int64
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var value, count int64
		if n, _ := fmt.Sscanf(lines.Text(), "latency %d %d", &value, &count); n == 2 {
			counts[value] += count
		}
		_, _ = fmt.Sscanf(lines.Text(), "summary %d %d %d %d", &requests, &runtime, &late, &failures) // most lines are others
	}
	if requests < int64(connections) || failures > 0 {
		return raw, shown, fmt.Errorf("wrk: %d requests, and %d that failed: %s", requests, failures, out)
	}
	rate := float64(requests) / (float64(runtime) / 1e6)
	shown = Result{Rate: rate, Requests: requests, Latency: histogramOf(counts)}
	if uncorrect(counts, runtime/(requests/int64(connections))); sum(counts) != requests-late {
		return raw, shown, fmt.Errorf("wrk: its correction is not that of version 4: %d latencies of %d requests", sum(counts), requests)
	}
	return Result{Rate: rate, Requests: requests, Latency: histogramOf(counts)}, shown, nil
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

func sum(counts map[int64]int64) (n int64) {
	for _, count := range counts {
		n += count
	}
	return n
}

func histogramOf(counts map[int64]int64) *hdrhistogram.Histogram {
	h := newHistogram()
	for micros, count := range counts {
		_ = h.RecordValues(min(max(micros*1e3, minLatency), maxLatency), count) // always in its range
	}
	return h
}
