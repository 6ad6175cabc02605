package sim

import (
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Estimate is the mean over replications, and the half-width of its 95 % confidence interval.
type Estimate struct {
	Mean      float64 `json:"mean"`
	HalfWidth float64 `json:"halfWidth"`
}

// maxReplications is more than anybody has time for.
const maxReplications = 1000

func estimate(values []float64) Estimate {
	n := float64(len(values))
	mean, deviation := stat.MeanStdDev(values, nil)
	t := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975)
	return Estimate{mean, t * stat.StdErr(deviation, n)}
}

// Outcome is what a scenario gives. Times are in units of the mean demand.
type Outcome struct {
	Response Estimate  `json:"response"`           // mean time from arrival to the end
	Slowdown *Estimate `json:"slowdown,omitempty"` // mean of response/demand, nil where it is infinite
	P50      Estimate  `json:"p50"`                // of the responses
	P99      Estimate  `json:"p99"`
	P999     Estimate  `json:"p999"`
	Max      Estimate  `json:"max"` // grows with the number of requests in a replication

	// How evenly the workers' CPUs were busy in windows of 1000 mean demands: 1 is perfect, and what Shared has by
	// definition.
	Jain Estimate `json:"jain"` // (sum x)^2 / (n sum x^2)
	Peak Estimate `json:"peak"` // largest/mean

	// Overloaded is the share of requests that come to a worker whose long-lived connections ask for more than its CPU
	// can do. While that lasts its queue grows, and so do the times with the lives of connections.
	Overloaded Estimate `json:"overloaded"`
}

// figures are what a replication has measured.
type figures struct{ response, slowdown, p50, p99, p999, longest, jain, peak, overloaded float64 }

// outcome sums up replications.
func (s Scenario) outcome(all []replication) (Outcome, error) {
	for _, r := range all {
		if r.err != nil {
			return Outcome{}, r.err
		}
	}
	over := func(get func(figures) float64) Estimate {
		values := make([]float64, len(all))
		for i, r := range all {
			values[i] = get(r.figures)
		}
		return estimate(values)
	}
	o := Outcome{
		Response:   over(func(f figures) float64 { return f.response }),
		P50:        over(func(f figures) float64 { return f.p50 }),
		P99:        over(func(f figures) float64 { return f.p99 }),
		P999:       over(func(f figures) float64 { return f.p999 }),
		Max:        over(func(f figures) float64 { return f.longest }),
		Jain:       over(func(f figures) float64 { return f.jain }),
		Peak:       over(func(f figures) float64 { return f.peak }),
		Overloaded: over(func(f figures) float64 { return f.overloaded }),
	}
	if s.finiteSlowdown() {
		slowdown := over(func(f figures) float64 { return f.slowdown })
		o.Slowdown = &slowdown
	}
	return o, nil
}
