package sim

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Experiment compares policies along one axis.
type Experiment struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Axis     string   `json:"axis"` // what the columns are
	Columns  []string `json:"columns"`
	Policies []string `json:"policies"`
	Cells    [][]Cell `json:"cells"` // by policy and column

	tables []Metric
}

// Cell is one scenario and what it gave.
type Cell struct {
	Scenario Scenario `json:"scenario"`
	Outcome  Outcome  `json:"outcome"`
}

// Simulate runs the replications of the scenarios on all CPUs, and fills in their outcomes.
func Simulate(ctx context.Context, cells ...*Cell) error {
	replications := make([][]replication, len(cells))
	for i, c := range cells {
		if err := c.Scenario.validate(); err != nil {
			return err
		}
		replications[i] = make([]replication, c.Scenario.Replications)
	}
	var running sync.WaitGroup
	cpus := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, c := range cells {
		for j := range replications[i] {
			cpus <- struct{}{}
			running.Go(func() { // ends with its replication
				r := &replications[i][j]
				r.figures, r.err = newRun(c.Scenario, j).do(ctx)
				<-cpus
			})
		}
	}
	running.Wait()
	for i, c := range cells {
		var err error
		if c.Outcome, err = c.Scenario.outcome(replications[i]); err != nil {
			return fmt.Errorf("%s with %d workers: %w", c.Scenario.label(), c.Scenario.Workers, err)
		}
	}
	return nil
}

func cellsOf(experiments []Experiment) (cells []*Cell) {
	for _, e := range experiments {
		for _, row := range e.Cells {
			for i := range row {
				cells = append(cells, &row[i])
			}
		}
	}
	return cells
}
