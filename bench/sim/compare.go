package sim

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Experiment compares policies along one axis.
type Experiment struct {
	Name     string
	Title    string
	Axis     string // what the columns are
	Columns  []string
	Policies []string
	Cells    [][]Cell // by policy and column

	tables []Metric
}

// Cell is one scenario and what it gave.
type Cell struct {
	Scenario Scenario
	Outcome  Outcome
}

// Simulate runs the replications of the scenarios on all CPUs, and fills in their outcomes.
func Simulate(ctx context.Context, cells ...*Cell) error {
	figures := make([][]map[Metric]float64, len(cells))
	running, ctx := errgroup.WithContext(ctx)
	running.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range cells {
		figures[i] = make([]map[Metric]float64, c.Scenario.Replications)
		for j := range figures[i] {
			running.Go(func() (err error) { // ends with its replication
				if figures[i][j], err = newRun(c.Scenario, j).do(ctx); err != nil {
					return fmt.Errorf("%s with %d workers: %w", c.Scenario.label(), c.Scenario.Workers, err)
				}
				return nil
			})
		}
	}
	if err := running.Wait(); err != nil {
		return err
	}
	for i, c := range cells {
		c.Outcome = c.Scenario.outcome(figures[i])
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
