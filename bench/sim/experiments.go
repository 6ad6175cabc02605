package sim

import "fmt"

// Plan is how much is simulated.
type Plan struct {
	Seed         uint64
	Replications int
	Requests     float64 // that count, in a replication, about
}

// leastTime is the least duration, for many workers: several of the windows, and of the seldom renewals.
const leastTime = 4000

// Experiments returns what the plan compares. Outcomes are empty until Simulate has filled them in.
func (p Plan) Experiments() []Experiment {
	base := Scenario{Workers: 64, Load: 0.8, Law: Pareto, Discipline: PS}
	home := Scenario{Workers: 8, Load: 0.6, Law: Pareto, Discipline: PS, Life: 5000}
	small, uneven := base, home
	small.Workers = 16
	uneven.Zipf = 1
	times := []Metric{Response, P99, P999}
	laws := []Law{Deterministic, Exponential, Pareto, Bimodal}
	counts := []int{8, 32, 128, 512, 2048, 8192}
	return []Experiment{
		vary(p, base, "workers", "a connection for each request, PS, Pareto, load 0.8", "N", times, []int{4, 16, 64, 256},
			func(s *Scenario, n int) { s.Workers = n }),
		vary(p, base, "metrics", "a connection for each request, PS, Pareto, load 0.8, N=64", "",
			[]Metric{Response, Slowdown, P50, P99, P999, Max, Jain, Peak}, []string{""}, func(*Scenario, string) {}),
		vary(p, small, "load", "a connection for each request, PS, Pareto, N=16", "load", times,
			[]float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95}, func(s *Scenario, load float64) { s.Load = load }),
		vary(p, base, "law", "a connection for each request, PS, load 0.8, N=64", "law", []Metric{Response, P999}, laws,
			func(s *Scenario, law Law) { s.Law = law }),
		vary(p, base, "fcfs", "a connection for each request, FCFS, load 0.8, N=64", "law", []Metric{Response, P999}, laws,
			func(s *Scenario, law Law) { s.Law, s.Discipline = law, FCFS }),
		vary(p, home, "connections", "C long-lived connections that do the same, PS, Pareto, load 0.6, N=8", "C",
			[]Metric{Response, P99, Overloaded}, counts, func(s *Scenario, c int) { s.Connections = c }),
		vary(p, uneven, "uneven", "C long-lived connections after Zipf's law, PS, Pareto, load 0.6, N=8", "C",
			[]Metric{P50, Overloaded}, counts, func(s *Scenario, c int) { s.Connections = c }),
	}
}

// rows are the scenarios of all policies.
func rows(s Scenario) (rows []Scenario) {
	for _, policy := range []Policy{Hash, RoundRobin, Weights, BestOfTwo, Watched, LeastLoaded, Shared} {
		s.Policy, s.Every = policy, 0
		if policy != Weights {
			rows = append(rows, s)
			continue
		}
		for _, s.Every = range []float64{1000, 100, 10} {
			rows = append(rows, s)
		}
	}
	return rows
}

// schedule gives a scenario its times.
func (p Plan) schedule(s Scenario) Scenario {
	s.Seed, s.Replications = p.Seed, p.Replications
	s.Duration = max(leastTime, 8*s.relaxation(), p.Requests/(s.Load*float64(s.Workers)))
	s.Warmup = s.Duration / 4
	return s
}

// relaxation is the time in which the queue of a worker forgets how it was, if the hash fills it: that of the reflected
// Brownian motion which it becomes under heavy traffic (Abate and Whitt, Transient Behavior of Regulated Brownian Motion,
// Advances in Applied Probability 19, 1987). A run that is too short begins and ends with queues that are too short.
func (s Scenario) relaxation() float64 {
	return 2 * s.Load * laws[s.Law].square / ((1 - s.Load) * (1 - s.Load))
}

// vary compares the policies for several values of one thing.
func vary[T any](p Plan, base Scenario, name, title, axis string, tables []Metric, values []T, set func(*Scenario, T)) Experiment {
	e := Experiment{Name: name, Title: title, Axis: axis, tables: tables}
	for _, value := range values {
		e.Columns = append(e.Columns, fmt.Sprint(value))
	}
	for _, s := range rows(base) {
		row := make([]Cell, len(values))
		for i, value := range values {
			s := s
			set(&s, value)
			row[i].Scenario = p.schedule(s)
		}
		e.Policies = append(e.Policies, s.label())
		e.Cells = append(e.Cells, row)
	}
	return e
}
