package sim

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Simulate runs the replications of a scenario on all CPUs.
func Simulate(ctx context.Context, s Scenario) (Outcome, error) {
	outcomes, err := simulateAll(ctx, []Scenario{s})
	if err != nil {
		return Outcome{}, err
	}
	return outcomes[s], nil
}

// replication is one run of a scenario.
type replication struct {
	figures figures
	err     error
}

// simulateAll simulates each of the scenarios once, whatever the order in which CPUs take up replications.
func simulateAll(ctx context.Context, scenarios []Scenario) (map[Scenario]Outcome, error) {
	replications := make(map[Scenario][]replication)
	for _, s := range scenarios {
		if err := s.validate(); err != nil {
			return nil, err
		}
		replications[s] = make([]replication, s.Replications)
	}
	tasks := make(chan func())
	var cpus sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		cpus.Go(func() { // ends with the tasks, below
			for task := range tasks {
				task()
			}
		})
	}
	for s, all := range replications {
		for i := range all {
			tasks <- func() { all[i].figures, all[i].err = newRun(s, i).do(ctx) }
		}
	}
	close(tasks)
	cpus.Wait()
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

	tables []metric
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
	outcomes, err := simulateAll(ctx, scenarios)
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
