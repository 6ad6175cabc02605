package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/cluster/control"
)

const (
	// catalogPackage is an application with a database and the cache.
	catalogPackage = "github.com/multinode-go/multinode/cmd/catalog"
	// shopConnections is how many requests wait at a time in the closed loop, and openConnections at a rate.
	shopConnections, openConnections = 16, 64
	// shopRate is the share of what the program without the cache can do.
	shopRate = 0.3
)

// buildProgram puts a program of the repository into dir, and returns its path.
func buildProgram(ctx context.Context, dir, pkg string) (string, error) {
	program := filepath.Join(dir, path.Base(pkg))
	build := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v, which works in a folder of the repository: %w\n%s", build, err, out)
	}
	return program, nil
}

// startCatalog starts the program with a database of its own.
func startCatalog(ctx context.Context, program, dir string, args ...string) (*server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	mesh := filepath.Join(dir, "mesh")
	cmd := exec.CommandContext(context.Background(), program, append([]string{
		"-addr", "127.0.0.1:0", "-nodes", "4", "-dir", mesh, "-db", filepath.Join(dir, "catalog.db"),
	}, args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	p, err := child.Start("catalog", cmd)
	if err != nil {
		return nil, err
	}
	s := &server{Process: p}
	var status control.Status
	if _, err = p.Line(0, ""); err == nil { // its first line comes when all nodes are ready
		status, err = control.NewClient(mesh).Status(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop(), errors.New(log.String()))
	}
	s.addr = status.Address
	return s, nil
}

// startCatalogs starts it without the cache, the baseline, and with it.
func startCatalogs(ctx context.Context, dir string) (p pair, err error) {
	program, err := buildProgram(ctx, dir, catalogPackage)
	if err != nil {
		return p, err
	}
	if p.baseline, err = startCatalog(ctx, program, filepath.Join(dir, "nocache"), "-nocache"); err != nil {
		return p, err
	}
	if p.ours, err = startCatalog(ctx, program, filepath.Join(dir, "cache")); err != nil {
		return p, errors.Join(err, p.baseline.stop())
	}
	return p, nil
}

// shop loads s from a process of its own.
func (s *server) shop(l roles.Shop) (r roles.Result, err error) {
	l.Addr = s.addr
	before := s.cpu()
	p, err := child.Run(roles.ShopperRole, l)
	if err != nil {
		return r, err
	}
	answer, err := p.Line(l.Warm+l.Duration, "")
	if err = errors.Join(err, p.Wait()); err == nil {
		err = json.Unmarshal([]byte(answer), &r)
	}
	r.CPU = s.cpu() - before
	return r, err
}

// measureCatalog asks what the cache brings to a program whose values come from a database.
func measureCatalog(ctx context.Context, c config, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := startCatalogs(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	l := roles.Shop{Connections: shopConnections, Warm: c.duration / 3 / roles.WarmUp, Duration: c.duration / 3}
	without, err := p.measureShop(ctx, c, w, l, fmt.Sprintf("each of %d connections in a closed loop", l.Connections))
	if err != nil {
		return err
	}
	l.Connections, l.Rate = openConnections, max(1, shopRate*median(without.figures(perSecond)))
	_, err = p.measureShop(ctx, c, w, l, fmt.Sprintf("%.0f requests a second", l.Rate))
	return err
}

// measureShop returns what there is without the cache.
func (p pair) measureShop(ctx context.Context, c config, w io.Writer, l roles.Shop, title string) (*contestant, error) {
	without, with, err := p.compare(ctx, c.rounds, func(_ context.Context, s *server) (roles.Result, error) { return s.shop(l) })
	if err != nil {
		return nil, err
	}
	without.name, with.name = "no cache", "cache"
	count := decimals(0)
	table(w, "a catalogue of 1000 products on 4 nodes, 90 % reads, 10 % writes, Zipf, "+title, versusRows(without, with,
		versus{name: "requests/s", format: count, of: perSecond},
		versus{name: "reads, p50 us", format: count, of: p50},
		versus{name: "reads, p99 us", format: count, of: p99},
		versus{name: "CPU us/request", format: count, of: cpuPerRequest},
		versus{name: "reads of the database, of a request", format: decimals(3), of: func(r roles.Result) float64 {
			return float64(r.Shop.FromDatabase+r.Shop.Conflicts) / float64(r.Requests)
		}},
		versus{name: "reads answered from the database", format: decimals(3), of: func(r roles.Result) float64 {
			return float64(r.Shop.FromDatabase) / float64(r.Shop.Reads)
		}},
		versus{name: "writes, in a round", format: count, isCount: true, of: func(r roles.Result) float64 { return float64(r.Shop.Writes) }},
		versus{name: "writes that came too late, in a round", format: count, isCount: true, of: func(r roles.Result) float64 {
			return float64(r.Shop.Conflicts)
		}})...)
	return without, nil
}
