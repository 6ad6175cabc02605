package report

import (
	"bytes"
	"flag"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sampleDir is for a look at what is written: go test ./report -run TestWriteSample -sample /tmp/sample
var sampleDir = flag.String("sample", "", "write the page, the charts and the data of made-up results into this folder")

func TestWriteSample(t *testing.T) {
	if *sampleDir == "" {
		t.Skip("to look at made-up results: go test ./report -run TestWriteSample -sample DIR")
	}
	d := sample(1, 5)
	require.NoError(t, d.WriteCharts(filepath.Join(*sampleDir, "charts")))
	for name, d := range odd() {
		require.NoError(t, os.WriteFile(filepath.Join(*sampleDir, "odd-"+fileName(name)+".html"), []byte(written(t, d.WriteHTML)), 0o644))
	}
	for name, write := range writers(d) {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		require.NoError(t, os.WriteFile(filepath.Join(*sampleDir, name), b.Bytes(), 0o644))
	}
}

// model is how a way behaves in the made-up results.
type model struct {
	way    Way
	speed  float64 // requests/s, relative to the baseline
	cpu    float64 // per request, likewise
	uneven float64 // how much more than its share the busiest worker gets
	memory float64 // MiB
}

func models() []model {
	return []model{
		{Way{Name: "go", Server: "net/http", Title: "one Go process", Version: "go1.26.8", Baseline: true, About: "One process, with a thread for each CPU. Nothing is shared."}, 1, 1, 0, 14},
		{Way{Name: "multinode", Server: "net/http", Title: "multinode", Version: "0.3.0", Ours: true, About: "SO_REUSEPORT; a master watches the workers and steers the kernel's choice."}, 1.09, 1.07, 0.12, 41},
		{Way{Name: "multinode-hash", Server: "net/http", Title: "multinode, hash only", Version: "0.3.0", Ours: true, About: "The same without steering."}, 1.08, 1.06, 0.35, 41},
		{Way{Name: "reuseport", Server: "net/http", Title: "SO_REUSEPORT, kernel's hash", About: "Each worker listens by itself."}, 1.08, 1.06, 0.35, 37},
		{Way{Name: "inherit", Server: "net/http", Title: "inherited listener", About: "All workers accept from one queue."}, 1.04, 1.1, 0.55, 36},
		{Way{Name: "pass-robin", Server: "net/http", Title: "master accepts, round robin", About: "Descriptors are passed in turn."}, 0.82, 1.35, 0.03, 45},
		{Way{Name: "pass-least", Server: "net/http", Title: "master accepts, least connections", About: "Descriptors are passed to the worker that has the fewest connections."}, 0.8, 1.38, 0.02, 45},
		{Way{Name: "proxy", Server: "net/http", Title: "TCP proxy in front of the workers", About: "One process copies the bytes."}, 0.46, 2.3, 0.03, 62},
		{Way{Name: "fasthttp", Server: "fasthttp", Title: "fasthttp prefork", Version: "1.68.0", About: "Prefork with another HTTP server."}, 1.7, 0.6, 0.36, 30},
		{Way{Name: "fiber", Server: "fasthttp", Title: "Fiber prefork", Version: "3.0.0", About: "A framework on fasthttp."}, 1.6, 0.64, 0.35, 38},
		{Way{Name: "node", Server: "Node.js", Title: "Node cluster, round robin", Version: "24.4.1", About: "Node's cluster: the primary accepts and passes."}, 0.4, 2.4, 0.05, 190},
		{Way{Name: "nginx", Server: "nginx", Title: "nginx, reuseport", Version: "1.28.0", About: "Static answer, worker_processes auto, listen ... reuseport."}, 2.1, 0.42, 0.37, 18},
		{Way{Name: "gunicorn", Server: "gunicorn", Title: "gunicorn, gevent workers", Version: "23.0.0", About: "Python: workers accept from an inherited listener."}, 0.12, 8.5, 0.8, 150},
		{Way{Name: "haproxy", Title: "HAProxy", Missing: "haproxy is not in PATH: apt-get install haproxy"}, 1, 1, 0, 0},
	}
}

func samplePatterns() []Pattern {
	return []Pattern{
		{"short", "Short connections", "Each request has a connection of its own; 64 are open at a time.", "How much does it cost to bring a connection to a worker? This is where passing descriptors has to pay.", 4, []string{ConnectionsPerSecond, P99, CPU, ConnectionsMaxMean}},
		{"keepalive", "Keep-alive, as fast as possible", "64 connections send requests one after the other (closed loop).", "What does each way add to a request when the connection is where it belongs?", 4, []string{RequestsPerSecond, CPU, P99, RequestsMaxMean}},
		{"rate", "Keep-alive at a fixed rate", "20,000 requests a second on 256 connections, sent at times fixed beforehand (open loop).", "How long do users wait at half of the possible load, which is how servers are run?", 4, []string{P99, P999, CPU}},
		{"few-8", "Few long-lived connections: 8", "8 connections that send unevenly: the busiest one sends ten times as much as the mean.", "What happens when luck decides which worker gets the busy connections?", 4, []string{P99, RequestsMaxMean, P999}},
		{"few-32", "Few long-lived connections: 32", "The same with 32 connections.", "From how many connections on does luck even out?", 4, []string{P99, RequestsMaxMean, P999}},
		{"heavy", "Heavy-tailed service", "1 % of the requests burn 50 ms of CPU.", "How many short requests wait behind a long one?", 4, []string{P99, P50, P999, RequestsPerSecond}},
		{"burst", "Burst of connections at once", "1,000 connections are opened at the same time, each for one request.", "How long is the queue, and are connections refused?", 4, []string{QueueMax, P99, Failures, ConnectionsMaxMean}},
		{"stall", "One worker stalled for a second", "One worker stops for a second, as for a collection of garbage or a slow disk.", "Does the port go on to send connections to a worker that cannot take them?", 4, []string{P999, QueueMax, Failures}},
		{"restart", "Rolling restart in the middle", "While requests go on, one worker after the other is replaced.", "Is a deployment seen by users?", 4, []string{Failures, P999, Restart}},
	}
}

// sample makes up the results of a comparison. The same seed gives the same results.
func sample(seed uint64, rounds int) *Document {
	d := &Document{
		Title: "Ways to share a TCP port", Command: "go run ./bench balance -rounds 5 -workers 4 -seed 1", Seed: seed,
		Begun: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Elapsed: 47*time.Minute + 12*time.Second,
		Machine: Machine{
			CPU: "Example CPU 9000 @ 2.80GHz", CPUs: 4, Memory: 8 << 30, OS: "Debian 13", Kernel: "6.18.2", Go: "go1.26.8",
			GOMAXPROCS: 4, Revision: "0123456789ab", Load: 0.07,
		},
		Patterns: samplePatterns(),
		Notes:    []string{"These results are made up, to see what the page looks like."},
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, m := range models() {
		d.Ways = append(d.Ways, m.way)
		for _, p := range d.Patterns {
			if m.way.Missing == "" {
				d.Cells = append(d.Cells, m.cell(p, rounds, rnd))
			}
		}
	}
	return d
}

func (m model) cell(p Pattern, rounds int, rnd *rand.Rand) Cell {
	c := Cell{Pattern: p.Name, Way: m.way.Name}
	if p.Name == "stall" && m.way.Name == "proxy" {
		c.Problem = "the proxy has no workers that can be stalled by themselves"
		return c
	}
	for round := range rounds {
		c.Samples = append(c.Samples, m.sample(p, round+1, rnd))
	}
	return c
}

func (m model) sample(p Pattern, round int, rnd *rand.Rand) Sample {
	noise := func(width float64) float64 { return math.Exp(width * rnd.NormFloat64()) }
	speed, cpu := 42000*m.speed*noise(0.015), 22*m.cpu*noise(0.01)
	tail, uneven := 1.0, m.uneven
	switch p.Name {
	case "rate":
		speed = 20000 * noise(0.0005)
	case "few-8":
		uneven = min(2.9, 4*m.uneven)
		tail = 1 + 3*uneven
	case "few-32":
		uneven = min(1.8, 2*m.uneven)
		tail = 1 + uneven
	case "heavy":
		speed, tail = speed/9, 6+30*m.uneven
	case "stall":
		tail = 1 + 6*m.uneven
	}
	p50 := 1.2 / m.speed * noise(0.02)
	s := Sample{Round: round, Figures: Figures{
		RequestsPerSecond: speed, ConnectionsPerSecond: speed / 3, CPU: cpu, CPUUser: cpu * 0.4, CPUSystem: cpu * 0.6,
		P50: p50, P90: p50 * 2 * noise(0.03), P99: p50 * 5 * tail * noise(0.08), P999: p50 * 16 * tail * noise(0.15),
		Max: p50 * 60 * tail * noise(0.3), RSS: m.memory * noise(0.01), PSS: m.memory * 0.7 * noise(0.01),
	}}
	if !m.way.Baseline {
		over := uneven * noise(0.2)
		maps.Copy(s.Figures, Figures{
			ConnectionsMaxMean: 1 + over, ConnectionsJain: 1 / (1 + over*over/3), ConnectionsDeviation: over / 1.6,
			RequestsMaxMean: 1 + over*1.2*noise(0.1), RequestsJain: 1 / (1 + over*over/2.5), RequestsDeviation: over / 1.4,
		})
	}
	s.Latency = m.quantiles(s)
	m.addQueue(p, &s, rnd)
	m.addFailures(p, &s, rnd)
	return s
}

// quantiles go through the figures.
func (m model) quantiles(s Sample) (quantiles []Quantile) {
	f := s.Figures
	known := []float64{f[P50], f[P90], f[P99], f[P999], f[Max]}
	at := []float64{nines(0.5), 1, 2, 3, 4}
	for i := range len(at) - 1 {
		for part := range 4 {
			share := float64(part) / 4
			x := at[i] + share*(at[i+1]-at[i])
			if i == 3 && part > 0 {
				break
			}
			ms := math.Exp(math.Log(known[i]) + share*(math.Log(known[i+1])-math.Log(known[i])))
			quantiles = append(quantiles, Quantile{1 - math.Pow(10, -x), ms})
		}
	}
	return append(quantiles, Quantile{1, f[Max]})
}

func (m model) addQueue(p Pattern, s *Sample, rnd *rand.Rand) {
	if p.Name != "burst" && p.Name != "stall" {
		return
	}
	begin, height, drain := 1.0, 900.0*(0.3+m.uneven)/m.speed, 0.25/m.speed
	if p.Name == "stall" {
		begin, height, drain = 2.0, 260*min(1, 2*m.uneven), 0.3
	}
	longest, sum := 0.0, 0.0
	const step = 0.02
	for t := 0.0; t < 5; t += step {
		n := 0.0
		if t >= begin {
			n = math.Floor(height * math.Exp((begin-t)/drain) * math.Exp(0.1*rnd.NormFloat64()))
		}
		longest, sum = max(longest, n), sum+n
		s.Queue = append(s.Queue, Point{t, n})
	}
	s.Figures[QueueMax], s.Figures[QueueMean] = longest, sum/float64(len(s.Queue))
}

func (m model) addFailures(p Pattern, s *Sample, rnd *rand.Rand) {
	if p.Name != "restart" {
		return
	}
	s.Figures[Restart] = 40 / m.speed * math.Exp(0.1*rnd.NormFloat64())
	switch m.way.Name {
	case "reuseport", "fasthttp", "fiber":
		s.Failures = map[string]int64{"connection reset": 20 + rnd.Int64N(30), "refused": rnd.Int64N(4)}
	case "go":
		s.Failures = map[string]int64{"refused": 2000 + rnd.Int64N(500)}
	}
}
