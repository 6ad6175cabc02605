package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/internal/child"
)

// last returns the latest time in the next lines of all, so many of each, that begin with prefix.
func last(processes []*child.Process, lines int, prefix string) (latest time.Duration, err error) {
	for _, p := range processes {
		for range lines {
			rest, err := p.Line(0, prefix+" ")
			if err != nil {
				return 0, err
			}
			now, err := strconv.ParseInt(rest[strings.LastIndexByte(rest, ' ')+1:], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", p.Name, err)
			}
			latest = max(latest, time.Duration(now))
		}
	}
	return latest, nil
}

// startOnce starts so many nodes at once, or processes that do nothing, which have no links. Both times count from the
// start of the first until the last has come so far.
func (c config) startOnce(system string) (r roles.Result, err error) {
	g, err := newGroup(c.gomaxprocs[0])
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	zero, err := roles.Monotonic()
	if err != nil {
		return r, err
	}
	if err := g.addAll(c.nodes, roles.Player{System: system}); err != nil {
		return r, err
	}
	began, err := last(g.processes, 1, "began")
	if err != nil {
		return r, err
	}
	r.Began = began - zero
	if system == roles.Mesh {
		joined, err := last(g.processes, c.nodes-1, "joined")
		r.Elapsed = joined - zero
		return r, err
	}
	return r, nil
}

// measureMeshStart asks how long many nodes take to find one another when they start at once, and how much of it the
// start of a process takes.
func measureMeshStart(ctx context.Context, c config, w io.Writer) error {
	start := func(system string) *contestant {
		return &contestant{measure: func(context.Context) (roles.Result, error) { return c.startOnce(system) }}
	}
	processes, mesh := start(roles.Trivial), start(roles.Mesh)
	if err := race(ctx, 2*c.rounds, []*contestant{processes, mesh}); err != nil {
		return err
	}
	began := func(r roles.Result) float64 { return milliseconds(r.Began) }
	more := mesh.figures(ms)
	for i, baseline := range processes.figures(began) {
		more[i] -= baseline
	}
	table(w, fmt.Sprintf("start of %d processes at once, from the start of the first, ms", c.nodes), timeHead,
		timeRow("processes that do nothing: all run", processes.figures(began)),
		timeRow("nodes: all have called Join", mesh.figures(began)),
		timeRow("nodes: each has all peers", mesh.figures(ms)),
		timeRow("nodes beyond processes that do nothing", more))
	return nil
}

// measureJoin asks how long one more node takes until all know of it.
func measureJoin(ctx context.Context, c config, w io.Writer) (err error) {
	raw, err := c.gather(roles.Hello)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.stop()) }()
	mesh, err := c.gather(roles.Mesh)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mesh.stop()) }()
	all := []*contestant{raw.joins(c.nodes), mesh.joins(c.nodes)}
	if err := race(ctx, 2*c.rounds, all); err != nil {
		return err
	}
	table(w, fmt.Sprintf("join of one into %d, from the call until all %d know, ms", c.nodes-1, c.nodes), timeHead,
		timeRow("raw: a connection and a hello to each", all[0].figures(ms)), timeRow("mesh", all[1].figures(ms)))
	return nil
}

// crowd is a group of which each has joined all others.
type crowd struct {
	*group
	system string
}

// gather starts all but one.
func (c config) gather(system string) (*crowd, error) {
	g, err := newGroup(c.gomaxprocs[0])
	if err != nil {
		return nil, err
	}
	if err = g.addAll(c.nodes-1, roles.Player{System: system}); err == nil {
		_, err = last(g.processes, 1, "began")
	}
	if err == nil && system == roles.Mesh { // the others don't look for each other
		_, err = last(g.processes, c.nodes-2, "joined")
	}
	if err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return &crowd{g, system}, nil
}

// joins has one join in each round, with ids from id on.
func (c *crowd) joins(id int) *contestant {
	return &contestant{measure: func(context.Context) (r roles.Result, err error) {
		r.Elapsed, err = c.joinOnce(id)
		id++
		return r, err
	}}
}

// joinOnce has one join, which has gone again when joinOnce returns.
func (c *crowd) joinOnce(id int) (took time.Duration, err error) {
	late := roles.Player{System: c.system, ID: id}
	for i := range c.processes {
		late.Others = append(late.Others, i+1)
	}
	p, err := c.player(late)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err = errors.Join(err, p.Stop(nil)); err == nil {
			_, err = last(c.processes, 1, fmt.Sprint("left ", id))
		}
	}()
	if _, err := p.Line(0, "waits"); err != nil {
		return 0, err
	}
	if err := p.Tell("go"); err != nil {
		return 0, err
	}
	one := []*child.Process{p}
	began, err := last(one, 1, "began")
	if err != nil {
		return 0, err
	}
	own, err := last(one, len(c.processes), "joined")
	if err != nil {
		return 0, err
	}
	others, err := last(c.processes, 1, fmt.Sprint("joined ", id))
	return max(own, others) - began, err
}
