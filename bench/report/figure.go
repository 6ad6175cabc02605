package report

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
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

// figure says what a value is.
type figure struct {
	Name     string
	Title    string // for an axis, without the unit
	Short    string // with the unit, for the head of a column
	Unit     string // "" for a plain number
	Group    string // figures of a group share a table
	Less     bool   // less is better
	Absolute bool   // compared by difference: it may be zero, or its ratio says nothing
	Whole    bool   // it counts something
}

// The groups of figures.
const (
	speed    = "Speed and cost"
	latency  = "Latency"
	fairness = "Fairness over the workers"
	others   = "Queue, failures, memory"
)

// figures are all that are known. They never change.
var figures = []figure{
	{Name: RequestsPerSecond, Title: "requests a second", Short: "requests/s", Unit: "1/s", Group: speed},
	{Name: ConnectionsPerSecond, Title: "connections a second", Short: "connections/s", Unit: "1/s", Group: speed},
	{Name: CPU, Title: "CPU time a request", Short: "CPU µs/request", Unit: "µs", Group: speed, Less: true},
	{Name: CPUUser, Title: "CPU time a request, user", Short: "user µs/request", Unit: "µs", Group: speed, Less: true},
	{Name: CPUSystem, Title: "CPU time a request, system", Short: "system µs/request", Unit: "µs", Group: speed, Less: true},
	{Name: P50, Title: "median latency", Short: "p50 ms", Unit: "ms", Group: latency, Less: true},
	{Name: P90, Title: "p90 latency", Short: "p90 ms", Unit: "ms", Group: latency, Less: true},
	{Name: P99, Title: "p99 latency", Short: "p99 ms", Unit: "ms", Group: latency, Less: true},
	{Name: P999, Title: "p99.9 latency", Short: "p99.9 ms", Unit: "ms", Group: latency, Less: true},
	{Name: Max, Title: "latency of the slowest request", Short: "max ms", Unit: "ms", Group: latency, Less: true},
	{Name: ConnectionsMaxMean, Title: "connections of the busiest worker to the mean", Short: "conns max/mean", Group: fairness, Less: true, Absolute: true},
	{Name: ConnectionsJain, Title: "Jain's index of connections", Short: "conns Jain", Group: fairness, Absolute: true},
	{Name: ConnectionsDeviation, Title: "deviation of connections, to the mean", Short: "conns dev/mean", Group: fairness, Less: true, Absolute: true},
	{Name: RequestsMaxMean, Title: "requests of the busiest worker to the mean", Short: "reqs max/mean", Group: fairness, Less: true, Absolute: true},
	{Name: RequestsJain, Title: "Jain's index of requests", Short: "reqs Jain", Group: fairness, Absolute: true},
	{Name: RequestsDeviation, Title: "deviation of requests, to the mean", Short: "reqs dev/mean", Group: fairness, Less: true, Absolute: true},
	{Name: QueueMax, Title: "longest accept queue", Short: "queue max", Unit: "connections", Group: others, Less: true, Absolute: true, Whole: true},
	{Name: QueueMean, Title: "mean accept queue", Short: "queue mean", Unit: "connections", Group: others, Less: true, Absolute: true},
	{Name: Failures, Title: "failed requests", Short: "failures", Unit: "requests", Group: others, Less: true, Absolute: true, Whole: true},
	{Name: Restart, Title: "time until a restarted worker serves", Short: "restart ms", Unit: "ms", Group: others, Less: true},
	{Name: RSS, Title: "resident memory", Short: "RSS MiB", Unit: "MiB", Group: others, Less: true},
	{Name: PSS, Title: "proportional memory", Short: "PSS MiB", Unit: "MiB", Group: others, Less: true},
}

// lookup makes a figure up for a name that this version does not know, so that its values are still shown.
func lookup(name string) figure {
	if i := slices.IndexFunc(figures, func(f figure) bool { return f.Name == name }); i >= 0 {
		return figures[i]
	}
	return figure{Name: name, Title: name, Short: name, Group: others}
}

// axis is the title with the unit.
func (f figure) axis() string {
	if strings.HasSuffix(f.Title, f.Unit) || f.Unit == "1/s" {
		return f.Title
	}
	return f.Title + ", " + f.Unit
}

// better says which way a reader should look for the good ones.
func (f figure) better() string {
	if f.Less {
		return "← less is better"
	}
	return "more is better →"
}

// format returns a value of this figure with three significant digits, or more where they are whole.
func (f figure) format(value float64) string {
	switch {
	case !finite(value):
		return "–"
	case f.Whole && value == math.Trunc(value):
		return decimals(value, 0)
	}
	return significant(value)
}

// formatEstimate is the median with its interval.
func (f figure) formatEstimate(e Estimate) string {
	if e.Rounds == 0 || e.Low == e.High {
		return f.formatMedian(e)
	}
	return f.format(e.Median) + " (" + f.interval(e) + ")"
}

func (f figure) formatMedian(e Estimate) string {
	if e.Rounds == 0 {
		return "–"
	}
	return f.format(e.Median)
}

func (f figure) interval(e Estimate) string { return f.format(e.Low) + "–" + f.format(e.High) }

func (f figure) withUnit(value float64) string {
	if f.Unit == "1/s" {
		return f.format(value) + "/s"
	}
	return f.format(value) + " " + f.Unit
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
	places := 3
	for _, limit := range []float64{0.995, 9.995, 99.95} {
		if math.Abs(value) >= limit {
			places--
		}
	}
	if value == 0 {
		places = 0
	}
	return decimals(value, places)
}

// decimals has commas between thousands.
func decimals(value float64, places int) string {
	if math.Abs(value) >= largest {
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	text := message.NewPrinter(language.English).Sprintf("%.*f", places, value)
	return strings.Replace(text, "-", "−", 1)
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }
