package cost

import (
	"time"

	"github.com/multinode-go/multinode/bench/cost/roles"
)

// figure is a number that a round has shown.
type figure func(roles.Result) float64

func perSecond(r roles.Result) float64    { return float64(r.Requests) / r.Elapsed.Seconds() }
func nsPerRequest(r roles.Result) float64 { return float64(r.Elapsed) / float64(r.Requests) }
func cpuPerRequest(r roles.Result) float64 {
	return float64(r.CPU.Nanoseconds()) / float64(r.Requests+r.Uncounted) / 1e3
}
func ms(r roles.Result) float64    { return milliseconds(r.Elapsed) }
func p50(r roles.Result) float64   { return microseconds(r.P50) }
func p99(r roles.Result) float64   { return microseconds(r.P99) }
func clock(r roles.Result) float64 { return microseconds(r.Clock) }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
