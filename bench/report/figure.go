package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// The names of the figures, which are keys of [Figures].
const (
	RequestsPerSecond    = "requests_per_second"
	ConnectionsPerSecond = "connections_per_second"
	CPU                  = "cpu_us"
	CPUUser              = "cpu_user_us"
	CPUSystem            = "cpu_system_us"
	P50                  = "p50_ms"
	P90                  = "p90_ms"
	P99                  = "p99_ms"
	P999                 = "p999_ms"
	Max                  = "max_ms"
	Failures             = "failures"
	Restart              = "restart_ms"
	RSS                  = "rss_mib"
	PSS                  = "pss_mib"
	ConnectionsMaxMean   = "connections_max_mean"
	ConnectionsJain      = "connections_jain"
	ConnectionsDeviation = "connections_deviation"
	RequestsMaxMean      = "requests_max_mean"
	RequestsJain         = "requests_jain"
	RequestsDeviation    = "requests_deviation"
	QueueMax             = "queue_max"
	QueueMean            = "queue_mean"
)

// Figure says what a value is.
type Figure struct {
	Name     string
	Title    string // for an axis, without the unit
	Short    string // with the unit, for the head of a column
	Unit     string // "" for a plain number
	Group    string // figures of a group share a table
	Less     bool   // less is better
	Absolute bool   // compared by difference: it may be zero, or its ratio says nothing
	Whole    bool   // it counts something
}

// AllFigures returns all that are known, in the order in which they are shown.
func AllFigures() []Figure {
	const speed, latency, share, queue = "Speed and cost", "Latency", "Fairness over the workers", "Queue, failures, memory"
	return []Figure{
		{RequestsPerSecond, "requests a second", "requests/s", "1/s", speed, false, false, false},
		{ConnectionsPerSecond, "connections a second", "connections/s", "1/s", speed, false, false, false},
		{CPU, "CPU time a request", "CPU µs/request", "µs", speed, true, false, false},
		{CPUUser, "CPU time a request, user", "user µs/request", "µs", speed, true, false, false},
		{CPUSystem, "CPU time a request, system", "system µs/request", "µs", speed, true, false, false},
		{P50, "median latency", "p50 ms", "ms", latency, true, false, false},
		{P90, "p90 latency", "p90 ms", "ms", latency, true, false, false},
		{P99, "p99 latency", "p99 ms", "ms", latency, true, false, false},
		{P999, "p99.9 latency", "p99.9 ms", "ms", latency, true, false, false},
		{Max, "latency of the slowest request", "max ms", "ms", latency, true, false, false},
		{ConnectionsMaxMean, "connections of the busiest worker to the mean", "conns max/mean", "", share, true, true, false},
		{ConnectionsJain, "Jain's index of connections", "conns Jain", "", share, false, true, false},
		{ConnectionsDeviation, "deviation of connections, to the mean", "conns dev/mean", "", share, true, true, false},
		{RequestsMaxMean, "requests of the busiest worker to the mean", "reqs max/mean", "", share, true, true, false},
		{RequestsJain, "Jain's index of requests", "reqs Jain", "", share, false, true, false},
		{RequestsDeviation, "deviation of requests, to the mean", "reqs dev/mean", "", share, true, true, false},
		{QueueMax, "longest accept queue", "queue max", "connections", queue, true, true, true},
		{QueueMean, "mean accept queue", "queue mean", "connections", queue, true, true, false},
		{Failures, "failed requests", "failures", "requests", queue, true, true, true},
		{Restart, "time until a restarted worker serves", "restart ms", "ms", queue, true, false, false},
		{RSS, "resident memory", "RSS MiB", "MiB", queue, true, false, false},
		{PSS, "proportional memory", "PSS MiB", "MiB", queue, true, false, false},
	}
}

// lookup makes a figure up for a name that this version does not know, so that its values are still shown.
func lookup(name string) Figure {
	figures := AllFigures()
	if i := slices.IndexFunc(figures, func(f Figure) bool { return f.Name == name }); i >= 0 {
		return figures[i]
	}
	return Figure{Name: name, Title: name, Short: name, Group: "Others"}
}

// axis is the title with the unit.
func (f Figure) axis() string {
	if strings.HasSuffix(f.Title, f.Unit) || f.Unit == "1/s" {
		return f.Title
	}
	return f.Title + ", " + f.Unit
}

// better says which way a reader should look for the good ones.
func (f Figure) better() string {
	if f.Less {
		return "← less is better"
	}
	return "more is better →"
}

// Format returns a value of this figure with three significant digits, or more where they are whole.
func (f Figure) Format(value float64) string {
	switch {
	case !finite(value):
		return "–"
	case f.Whole && value == math.Trunc(value):
		return decimals(value, 0)
	}
	return significant(value)
}

// FormatEstimate is the median with its interval.
func (f Figure) FormatEstimate(e Estimate) string {
	if e.Rounds == 0 {
		return "–"
	}
	if e.Low == e.High {
		return f.Format(e.Median)
	}
	return f.Format(e.Median) + " (" + f.Format(e.Low) + "–" + f.Format(e.High) + ")"
}

// formatRatio shows a third decimal where the interval is so narrow that two would hide it.
func formatRatio(e Estimate) string {
	show := significant
	if e.High < 10 {
		places := 2
		if e.High-e.Low < 0.02 {
			places = 3
		}
		show = func(value float64) string { return decimals(value, places) }
	}
	return show(e.Median) + " (" + show(e.Low) + "–" + show(e.High) + ")"
}

func significant(value float64) string {
	switch size := math.Abs(value); {
	case size >= 100 || size == 0:
		return decimals(value, 0)
	case size >= 10:
		return decimals(value, 1)
	case size >= 0.995:
		return decimals(value, 2)
	default:
		return decimals(value, 3)
	}
}

// tickText has no more digits than it takes.
func tickText(value float64) string {
	if math.Abs(value) >= 1000 {
		return decimals(value, 0)
	}
	return strconv.FormatFloat(value, 'g', 5, 64)
}

// decimals separates thousands by commas.
func decimals(value float64, places int) string {
	if math.Abs(value) >= largest {
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	text := strconv.FormatFloat(math.Abs(value), 'f', places, 64)
	whole, fraction, found := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		whole += "." + fraction
	}
	if value < 0 {
		return "−" + whole
	}
	return whole
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }
