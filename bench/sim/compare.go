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

// task is a replication.
type task struct {
	scenario    Scenario
	replication int
	figures     figures
	err         error
}

// simulateAll simulates each of the scenarios once, whatever the order in which CPUs take up replications.
func simulateAll(ctx context.Context, scenarios []Scenario) (map[Scenario]Outcome, error) {
	outcomes := make(map[Scenario]Outcome)
	var tasks []*task
	for _, s := range scenarios {
		if err := s.validate(); err != nil {
			return nil, err
		}
		if _, known := outcomes[s]; known {
			continue
		}
		outcomes[s] = Outcome{}
		for i := range s.Replications {
			tasks = append(tasks, &task{scenario: s, replication: i})
		}
	}
	work(ctx, tasks)
	for len(tasks) > 0 {
		s := tasks[0].scenario
		all := make([]figures, s.Replications)
		for i, t := range tasks[:s.Replications] {
			if t.err != nil {
				return nil, fmt.Errorf("%s with %d workers: %w", s.label(), s.Workers, t.err)
			}
			all[i] = t.figures
		}
		outcomes[s] = s.outcome(all)
		tasks = tasks[s.Replications:]
	}
	return outcomes, nil
}

// work does the tasks on all CPUs.
func work(ctx context.Context, tasks []*task) {
	queue := make(chan *task)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() { // ends with the queue, below
			for t := range queue {
				t.figures, t.err = newRun(t.scenario, t.replication).do(ctx)
			}
		})
	}
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	workers.Wait()
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
