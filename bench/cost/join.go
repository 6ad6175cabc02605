package cost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// crowd is the processes of some joiners, in one directory.
type crowd struct {
	joiner     // what each is told, but for its id
	gomaxprocs int
	processes  []*child.Process // ids from 1
}

func (c config) newCrowd(system string) (*crowd, error) {
	dir, err := os.MkdirTemp("", "bench")
	return &crowd{joiner: joiner{System: system, Dir: dir}, gomaxprocs: c.gomaxprocs[0]}, err
}

// startAll starts n of them at once.
func (c *crowd) startAll(n int) error {
	c.processes = make([]*child.Process, n)
	failures := make([]error, n)
	var starts sync.WaitGroup
	for i := range n {
		starts.Go(func() { c.processes[i], failures[i] = c.start(i+1, false) })
	}
	starts.Wait()
	c.processes = slices.DeleteFunc(c.processes, func(p *child.Process) bool { return p == nil })
	return errors.Join(failures...)
}

func (c *crowd) start(id int, hold bool) (*child.Process, error) {
	j := c.joiner
	j.ID, j.Hold = id, hold
	if hold {
		for other := range c.processes {
			j.Others = append(j.Others, other+1)
		}
	}
	return startRole(fmt.Sprintf("%s, process %d", c.System, id), joinerRole, j, c.gomaxprocs)
}

func (c *crowd) stop() (err error) {
	for _, p := range c.processes {
		p.End(nil)
	}
	for _, p := range c.processes {
		err = errors.Join(err, p.Wait())
	}
	return errors.Join(err, os.RemoveAll(c.Dir))
}

// last returns the latest time in the next lines of all, so many of each, that begin with prefix.
func last(processes []*child.Process, lines int, prefix string) (latest int64, err error) {
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
			latest = max(latest, now)
		}
	}
	return latest, nil
}

// started is when the last of many processes had come so far, in milliseconds from the start of the first.
type started struct{ began, linked float64 }

// startOnce starts so many nodes at once, or processes that do nothing, which link to nobody.
func (c config) startOnce(system string) (s started, err error) {
	crowd, err := c.newCrowd(system)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, crowd.stop()) }()
	zero, err := monotonic()
	if err != nil {
		return s, err
	}
	if err := crowd.startAll(c.nodes); err != nil {
		return s, err
	}
	began, err := last(crowd.processes, 1, "began")
	if err != nil {
		return s, err
	}
	s.began = float64(began-zero) / 1e6
	if system == meshName {
		linked, err := last(crowd.processes, c.nodes-1, "joined")
		s.linked = float64(linked-zero) / 1e6
		return s, err
	}
	return s, nil
}

// measureMeshStart asks how long many nodes take to find one another when they start at once, and how much of it the
// start of a process takes.
func measureMeshStart(ctx context.Context, c config, w io.Writer) error {
	var processes, began, linked, more []float64
	for round := range 2 * c.rounds {
		took := map[string]started{}
		for _, system := range turns([]string{trivial, meshName}, round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var err error
			if took[system], err = c.startOnce(system); err != nil {
				return err
			}
		}
		baseline, mesh := took[trivial], took[meshName]
		processes, began = append(processes, baseline.began), append(began, mesh.began)
		linked, more = append(linked, mesh.linked), append(more, mesh.linked-baseline.began)
	}
	table(w, fmt.Sprintf("start of %d processes at once, from the start of the first, ms", c.nodes), timeHead,
		timeRow("processes that do nothing: all run", processes), timeRow("nodes: all have called Join", began),
		timeRow("nodes: each has all peers", linked), timeRow("nodes beyond processes that do nothing", more))
	return nil
}

var timeHead = []string{"", "median", "quartiles", "max"}

func timeRow(name string, times []float64) []string {
	return []string{name, fmt.Sprintf("%.2f", median(times)), spread(times), fmt.Sprintf("%.2f", slices.Max(times))}
}

// measureJoin asks how long one more node takes until all know of it.
func measureJoin(ctx context.Context, c config, w io.Writer) (err error) {
	var crowds []*crowd
	defer func() {
		for _, crowd := range crowds {
			err = errors.Join(err, crowd.stop())
		}
	}()
	for _, system := range []string{raw, meshName} {
		crowd, err := c.gather(system)
		if err != nil {
			return err
		}
		crowds = append(crowds, crowd)
	}
	times := map[string][]float64{}
	for round := range 2*c.rounds + 1 { // the first does not count
		for _, crowd := range turns(crowds, round) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			took, err := crowd.joinOnce(c.nodes + round)
			if err != nil {
				return err
			}
			if round > 0 {
				times[crowd.System] = append(times[crowd.System], took)
			}
		}
	}
	table(w, fmt.Sprintf("join of one into %d, from the call until all %d know, ms", c.nodes-1, c.nodes), timeHead,
		timeRow("raw: a connection and a hello to each", times[raw]), timeRow("mesh", times[meshName]))
	return nil
}

// gather starts all but one.
func (c config) gather(system string) (*crowd, error) {
	crowd, err := c.newCrowd(system)
	if err != nil {
		return nil, err
	}
	if err = crowd.startAll(c.nodes - 1); err == nil {
		_, err = last(crowd.processes, 1, "began")
	}
	if err == nil && system != raw { // the raw ones don't look for each other
		_, err = last(crowd.processes, c.nodes-2, "joined")
	}
	if err != nil {
		return nil, errors.Join(err, crowd.stop())
	}
	return crowd, nil
}

// joinOnce has one join, which has gone again when joinOnce returns.
func (c *crowd) joinOnce(id int) (ms float64, err error) {
	p, err := c.start(id, true)
	if err != nil {
		return 0, err
	}
	defer func() {
		p.End(nil)
		if err = errors.Join(err, p.Wait()); err == nil {
			_, err = last(c.processes, 1, fmt.Sprint("left ", id))
		}
	}()
	if _, err := p.Line(0, "ready"); err != nil {
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
	return float64(max(own, others)-began) / 1e6, err
}
