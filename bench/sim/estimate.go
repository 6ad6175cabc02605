package sim

import (
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Metric is something that is measured. Times are in units of the mean demand.
type Metric string

// The metrics. Jain and Peak say how evenly the workers' CPUs were busy in windows of 1000 mean demands: 1 is perfect, and
// what Shared has by definition.
const (
	Response Metric = "response" // mean time from arrival to the end
	Slowdown Metric = "slowdown" // mean of response/demand; missing where it is infinite
	P50      Metric = "p50"      // of the responses
	P99      Metric = "p99"
	P999     Metric = "p999"
	Max      Metric = "max"  // grows with the number of requests in a replication
	Jain     Metric = "jain" // (sum x)^2 / (n sum x^2)
	Peak     Metric = "peak" // largest/mean
	// Overloaded is the share of requests that come to a worker whose long-lived connections ask for more than its CPU
	// can do. While that lasts its queue grows, and so do the times with the lives of connections.
	Overloaded Metric = "overloaded"
)

// Estimate is the mean over replications, and the half-width of its 95 % confidence interval.
type Estimate struct {
	Mean      float64
	HalfWidth float64
}

// Outcome is what a scenario gives.
type Outcome map[Metric]Estimate

func estimate(values []float64) Estimate {
	n := float64(len(values))
	mean, deviation := stat.MeanStdDev(values, nil)
	t := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975)
	return Estimate{mean, t * stat.StdErr(deviation, n)}
}

// outcome sums up replications.
func (s Scenario) outcome(all []map[Metric]float64) Outcome {
	values := make(map[Metric][]float64)
	for _, figures := range all {
		for m, value := range figures {
			values[m] = append(values[m], value)
		}
	}
	o := make(Outcome)
	for m, all := range values {
		o[m] = estimate(all)
	}
	if !s.finiteSlowdown() {
		delete(o, Slowdown)
	}
	return o
}
