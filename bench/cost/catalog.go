package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/multinode-go/multinode/bench/internal/child"
)

const (
	// catalogPackage is an application with a database and the cache.
	catalogPackage = "github.com/multinode-go/multinode/cmd/catalog"
	// shopConnections is how many requests wait at a time in the closed loop, and openConnections at a rate.
	shopConnections, openConnections = 16, 64
	// shopRate is the share of what the program without the cache can do.
	shopRate = 0.3
)

// startCatalog starts the program with a database of its own.
func startCatalog(program, dir string, args ...string) (*server, error) {
	cmd := exec.CommandContext(context.Background(), program, append([]string{
		"-addr", "127.0.0.1:0", "-nodes", "4", "-dir", filepath.Join(dir, "mesh"), "-db", filepath.Join(dir, "catalog.db"),
	}, args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	p, err := child.Start("catalog", cmd)
	if err != nil {
		return nil, err
	}
	s := &server{Process: p}
	line, err := s.await("nodes ready")
	if err != nil {
		return nil, errors.Join(err, s.stop(), errors.New(log.String()))
	}
	s.addr = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	return s, nil
}

// startCatalogs starts it without the cache, the baseline, and with it.
func startCatalogs(program, dir string) (p *pair, err error) {
	p = new(pair)
	if p.baseline, err = startCatalogIn(program, filepath.Join(dir, "nocache"), "-nocache"); err != nil {
		return nil, err
	}
	if p.cluster, err = startCatalogIn(program, filepath.Join(dir, "cache")); err != nil {
		return nil, errors.Join(err, p.baseline.stop())
	}
	return p, nil
}

func startCatalogIn(program, dir string, args ...string) (*server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return startCatalog(program, dir, args...)
}

// apply loads s from a process of its own.
func (l shop) apply(s *server) (result, error) {
	l.Addr = s.addr
	return s.load(shopRole, l.Warm+l.Duration, l)
}

// measureCatalog asks what the cache brings to a program whose values come from a database.
func measureCatalog(ctx context.Context, c config, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program, err := buildProgram(ctx, dir, catalogPackage)
	if err != nil {
		return err
	}
	p, err := startCatalogs(program, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	closed := shop{Connections: shopConnections, Warm: c.duration / 3 / warmUp, Duration: c.duration / 3}
	if err := p.compare(ctx, c.rounds, closed.apply); err != nil {
		return err
	}
	const load = "a catalogue of 1000 products on 4 nodes, 90 %% reads, 10 %% writes, Zipf, %s"
	table(w, fmt.Sprintf(load, fmt.Sprintf("each of %d connections in a closed loop", closed.Connections)), p.shopRows()...)
	open := closed
	open.Connections, open.Rate = openConnections, max(1, shopRate*median(figures(p.baselineResult, result.perSecond)))
	p.baselineResult, p.clusterResult = nil, nil
	if err := p.compare(ctx, c.rounds, open.apply); err != nil {
		return err
	}
	table(w, fmt.Sprintf(load, fmt.Sprintf("%.0f requests a second", open.Rate)), p.shopRows()...)
	return nil
}

func (p *pair) shopRows() [][]string {
	share := func(of, from func(shopResult) int64) func(result) float64 {
		return func(r result) float64 { return float64(of(r.Shop)) / float64(from(r.Shop)) }
	}
	reads := func(r shopResult) int64 { return r.Reads }
	all := func(r shopResult) int64 { return r.Reads + r.Writes + r.Conflicts }
	database := func(r shopResult) int64 { return r.FromDatabase + r.Conflicts }
	return [][]string{
		{"", "no cache", "cache", "ratio", "quartiles"},
		p.row("requests/s", "%.0f", result.perSecond),
		p.row("reads, p50 us", "%.0f", p50),
		p.row("reads, p99 us", "%.0f", p99),
		p.row("CPU us/request", "%.0f", result.cpuPerRequest),
		p.row("reads of the database, of a request", "%.3f", share(database, all)),
		p.row("reads answered from the database", "%.3f", share(func(r shopResult) int64 { return r.FromDatabase }, reads)),
		p.shopCount("writes", func(r shopResult) int64 { return r.Writes }),
		p.shopCount("writes that came too late", func(r shopResult) int64 { return r.Conflicts }),
	}
}

// shopCount is a row without a ratio: it may be 0.
func (p *pair) shopCount(name string, of func(shopResult) int64) []string {
	count := func(results []result) string {
		return fmt.Sprintf("%.0f", median(figures(results, func(r result) float64 { return float64(of(r.Shop)) })))
	}
	return []string{name + ", in a round", count(p.baselineResult), count(p.clusterResult), "", ""}
}
