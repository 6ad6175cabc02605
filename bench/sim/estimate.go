package sim

import "math"

// Estimate is the mean over replications, and the half-width of its 95 % confidence interval.
type Estimate struct {
	Mean      float64 `json:"mean"`
	HalfWidth float64 `json:"halfWidth"`
}

// student are the 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom.
var student = [...]float64{
	12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
	2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
}

const maxReplications = len(student) + 1

func estimate(values []float64) Estimate {
	n := float64(len(values))
	mean, squares := 0.0, 0.0
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return Estimate{mean, student[len(values)-2] * math.Sqrt(squares/(n-1)/n)}
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
func (s Scenario) outcome(all []figures) Outcome {
	over := func(get func(figures) float64) Estimate {
		values := make([]float64, len(all))
		for i, f := range all {
			values[i] = get(f)
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
	return o
}
