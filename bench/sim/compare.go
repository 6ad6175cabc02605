package sim

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Simulate runs the replications of scenarios on all CPUs. A scenario that is named twice is simulated once.
func Simulate(ctx context.Context, scenarios ...Scenario) (map[Scenario]Outcome, error) {
	replications := make(map[Scenario][]replication)
	for _, s := range scenarios {
		if err := s.validate(); err != nil {
			return nil, err
		}
		replications[s] = make([]replication, s.Replications)
	}
	var running sync.WaitGroup
	cpus := make(chan struct{}, runtime.GOMAXPROCS(0))
	for s, all := range replications {
		for i := range all {
			cpus <- struct{}{}
			running.Go(func() { // ends with its replication
				all[i].figures, all[i].err = newRun(s, i).do(ctx)
				<-cpus
			})
		}
	}
	running.Wait()
	outcomes := make(map[Scenario]Outcome)
	for s, all := range replications {
		var err error
		if outcomes[s], err = s.outcome(all); err != nil {
			return nil, fmt.Errorf("%s with %d workers: %w", s.label(), s.Workers, err)
		}
	}
	return outcomes, nil
}

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

// Compare simulates the cells of experiments, and fills in their outcomes.
func Compare(ctx context.Context, experiments []Experiment) error {
	var scenarios []Scenario
	each(experiments, func(c *Cell) { scenarios = append(scenarios, c.Scenario) })
	outcomes, err := Simulate(ctx, scenarios...)
	if err != nil {
		return err
	}
	each(experiments, func(c *Cell) { c.Outcome = outcomes[c.Scenario] })
	return nil
}

func each(experiments []Experiment, f func(*Cell)) {
	for _, e := range experiments {
		for _, row := range e.Cells {
			for i := range row {
				f(&row[i])
			}
		}
	}
}
