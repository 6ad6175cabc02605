// Package report is the result of a comparison of ways to share a TCP port: its data, its statistics and what is shown of it.
//
// A [Document] holds the figures of each round as they were measured. What is shown (a table for the terminal, a page of HTML,
// charts) is computed from them when it is written, so a document that was read from JSON gives the same page again:
//
//	d, err := report.ReadJSON(file)
//	...
//	err = d.WriteHTML(page)
//
// A figure is shown as its median over the rounds. It is compared with that of another way round by round, because both were
// measured one right after the other and so on an equally busy machine. What differs by less than it spreads is marked, and
// never called better.
//
// A Document must not be changed while it is written; any number of writers may run at the same time.
package report

import "time"

// Version is that of the JSON. It changes when a field changes its meaning.
const Version = 1

// Document is a whole comparison.
type Document struct {
	Version  int           `json:"version"` // set by WriteJSON
	Title    string        `json:"title"`
	Command  string        `json:"command"` // what was called, to be repeated
	Begun    time.Time     `json:"begun"`
	Elapsed  time.Duration `json:"elapsed_ns"`
	Seed     uint64        `json:"seed"`
	Machine  Machine       `json:"machine"`
	Ways     []Way         `json:"ways"`     // in the order of the tables
	Patterns []Pattern     `json:"patterns"` // likewise
	Cells    []Cell        `json:"cells"`
	Notes    []string      `json:"notes,omitempty"` // what a reader has to know about this run
}

// Machine is where it was measured. What is not known is left empty, and not shown.
type Machine struct {
	CPU        string  `json:"cpu,omitempty"` // the model
	CPUs       int     `json:"cpus,omitempty"`
	Memory     int64   `json:"memory_bytes,omitempty"`
	OS         string  `json:"os,omitempty"`
	Kernel     string  `json:"kernel,omitempty"`
	Go         string  `json:"go,omitempty"`
	GOMAXPROCS int     `json:"gomaxprocs,omitempty"`
	Revision   string  `json:"revision,omitempty"` // of this project
	Load       float64 `json:"load"`               // average of the minute before it began
}

// Way is a way to share a port.
type Way struct {
	Name     string `json:"name"`  // short and unique, as in the command line
	Title    string `json:"title"` // up to about 30 characters, for charts
	About    string `json:"about,omitempty"`
	Version  string `json:"version,omitempty"`
	Server   string `json:"server,omitempty"`   // what answers the requests: only ways with the same one differ by the way alone
	Baseline bool   `json:"baseline,omitempty"` // what the others are compared with; one way has it
	Ours     bool   `json:"ours,omitempty"`     // of this project; the first such way is its default
	Missing  string `json:"missing,omitempty"`  // why it was skipped, and how to install it
}

// Pattern is a pattern of load.
type Pattern struct {
	Name     string   `json:"name"` // short and unique, as in the command line
	Title    string   `json:"title"`
	About    string   `json:"about"`    // what is done
	Question string   `json:"question"` // what it answers, and why that matters
	Workers  int      `json:"workers,omitempty"`
	Figures  []string `json:"figures"` // the names of those that matter here, the main one first
}

// Cell is what one way did under one pattern.
type Cell struct {
	Pattern string   `json:"pattern"`
	Way     string   `json:"way"`
	Samples []Sample `json:"samples,omitempty"`
	Problem string   `json:"problem,omitempty"` // why there are no samples, or fewer
}

// Sample is one round of a cell.
type Sample struct {
	Round    int              `json:"round"` // the same for all ways that were measured one after the other
	Figures  Figures          `json:"figures"`
	Failures map[string]int64 `json:"failures,omitempty"` // requests that failed, by kind
	Queue    []Point          `json:"queue,omitempty"`    // the length of the accept queue
	Latency  []Quantile       `json:"latency,omitempty"`  // at the same shares in all samples
}

// Figures are values by name. A value that is not finite counts as missing everywhere.
type Figures map[string]float64

// Point is a value at a time.
type Point struct {
	Seconds float64 `json:"s"` // since the round began
	Value   float64 `json:"v"`
}

// Quantile says that a share of the requests took no longer than a time.
type Quantile struct {
	Share        float64 `json:"q"` // 0.99 is p99, and 1 the slowest request
	Milliseconds float64 `json:"ms"`
}

// Value returns a figure of the sample. The number of failures is counted where it is not among the figures.
func (s Sample) Value(figure string) (value float64, ok bool) {
	value, ok = s.Figures[figure]
	if !ok && figure == Failures {
		for _, n := range s.Failures {
			value += float64(n)
		}
		return value, true
	}
	return value, ok && finite(value)
}
