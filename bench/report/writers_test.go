package report

import (
	"bytes"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writers are all that write one file.
func writers(d *Document) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{
		"report.html": d.WriteHTML, "report.json": d.WriteJSON, "report.txt": d.WriteText,
	}
}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	return b.String()
}

func TestWritingIsRepeatable(t *testing.T) {
	for name, write := range writers(sample(1, 3)) {
		first := written(t, write)
		assert.Equal(t, first, written(t, write), name)
	}
}

func TestText(t *testing.T) {
	d := sample(1, 5)
	text := written(t, d.WriteText)
	for _, p := range d.Patterns {
		assert.Contains(t, text, p.Title+"\n")
	}
	table, _, _ := strings.Cut(text, "Medians of")
	for _, w := range d.view().Ways {
		assert.Equal(t, len(d.Patterns), len(regexp.MustCompile(`(?m)^`+w.Name+` .*\d`).FindAllString(table, -1))+holes(d, w), w.Name)
	}
	assert.Contains(t, text, "haproxy: haproxy is not in PATH: apt-get install haproxy")
	assert.Contains(t, text, "93.75 %")
	for line := range strings.Lines(table) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), textWidth, line)
	}
}

func cellOf(d *Document, pattern, way string) Cell {
	return d.Cells[slices.IndexFunc(d.Cells, func(c Cell) bool { return c.Pattern == pattern && c.Way == way })]
}

// holes counts the patterns in which a way has no value.
func holes(d *Document, w Way) (n int) {
	for _, p := range d.Patterns {
		if len(cellOf(d, p.Name, w.Name).Samples) == 0 {
			n++
		}
	}
	return n
}

func TestTextMarksWhatCannotBeTold(t *testing.T) {
	ones := []float64{1, 1, 1, 1, 1}
	text := written(t, two(P99, ones, []float64{.9, 1.1, 1.1, 1.1, 1.1}).WriteText)
	assert.Contains(t, text, "1.10 (0.90–1.10) ~")
	text = written(t, two(P99, ones[:4], []float64{2, 2, 2, 2}).WriteText)
	assert.Contains(t, text, "2.000 (2.000–2.000) ~")
	assert.Contains(t, text, "it takes 5 rounds")
}

func TestTextDoesNotSteerTheTerminal(t *testing.T) {
	d := hostile("\x1b[2J\u009b31m\n")
	assert.NotRegexp(t, "[\x1b\u009b\r]", written(t, d.WriteText))
}

// hostile returns a document that has a text wherever it can have one.
func hostile(text string) *Document {
	d := two(P99, []float64{1, 2, 3, 4, 5}, []float64{1, 2, 3, 4, 6})
	d.Title, d.Command, d.Notes = text, text, []string{text}
	d.Machine = Machine{CPU: text, OS: text, Kernel: text, Go: text, Revision: text}
	for i := range d.Ways {
		w := &d.Ways[i]
		w.Title, w.About, w.Version, w.Server = text, text, text, text
	}
	d.Ways = append(d.Ways, Way{Name: text, Missing: text})
	p := &d.Patterns[0]
	p.Title, p.About, p.Question, p.Figures = text, text, text, append(p.Figures, text)
	for i := range d.Cells {
		d.Cells[i].Problem = text
		for j := range d.Cells[i].Samples {
			s := &d.Cells[i].Samples[j]
			s.Figures[text] = 1
			s.Failures = map[string]int64{text: 1}
			s.Queue = []Point{{0, 1}, {1, 2}}
			s.Figures[ConnectionsMaxMean] = 1.5
		}
	}
	return d
}

// odd are documents that have too little or too much of something.
func odd() map[string]*Document {
	five := []float64{1, 2, 3, 4, 5}
	zeros := []float64{0, 0, 0, 0, 0}
	nothing := two(P99, nil, nil)
	failed := two(P99, nil, nil)
	failed.Cells[0].Problem, failed.Cells[1].Problem = "exit status 1", "exit status 1"
	noBaseline := sample(1, 5)
	noBaseline.Ways[0].Baseline = false
	skippedBaseline := sample(1, 5)
	skippedBaseline.Ways[0].Missing = "not here"
	noFigures := two(P99, five, five)
	noFigures.Patterns[0].Figures = nil
	unknown := two("new", five, five)
	queue := two(P99, five, five)
	queue.Cells[0].Samples[0].Queue = []Point{{0, 0}, {math.NaN(), 3}, {2, math.Inf(1)}, {-1, 5}}
	queue.Cells[1].Samples[0].Queue = []Point{{0, 5}}
	latency := two(P99, five, five)
	latency.Cells[1].Samples[0].Latency = []Quantile{{0, 1}, {1, 2}, {2, 3}, {-1, 4}, {math.NaN(), 5}, {.5, math.NaN()}, {.5, 0}, {.9999999, 9}}
	allFailed := sample(1, 5)
	for i := range allFailed.Cells {
		for j := range allFailed.Cells[i].Samples {
			allFailed.Cells[i].Samples[j] = Sample{Round: j + 1, Failures: map[string]int64{"refused": 1000}}
		}
	}
	docs := map[string]*Document{
		"empty": {}, "no samples": nothing, "all failed to start": failed, "no baseline": noBaseline, "baseline skipped": skippedBaseline,
		"no figures": noFigures, "unknown figure": unknown, "single round": sample(1, 1), "many rounds": sample(1, 12),
		"queue": queue, "latency": latency, "all requests failed": allFailed,
		"hostile": hostile(hostileText), "long": hostile(strings.Repeat("long ", 100)), "unbroken": hostile(strings.Repeat("x", 500)),
		"only the baseline": two(P99, five, nil), "only the way": two(P99, nil, five), "invalid UTF-8": hostile("a\xff\x00b"),
	}
	for name, values := range map[string][]float64{
		"zeros": zeros, "negative": {-1, -2, -3, -4, -5}, "huge": {1e300, 1e300, 1e-300, 1e300, 1e300}, "not finite": {math.NaN(), math.Inf(1), math.Inf(-1), 1, 2},
		"tiny": {5e-324, 5e-324, 5e-324, 5e-324, 5e-324}, "largest": {math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, math.MaxFloat64},
	} {
		for _, figure := range []string{P99, QueueMax, RequestsMaxMean, Failures} {
			docs[name+" "+figure+" of the way"] = two(figure, five, values)
			docs[name+" "+figure+" of the baseline"] = two(figure, values, five)
			docs[name+" "+figure+" of both"] = two(figure, values, values)
		}
	}
	return docs
}

const hostileText = `<script>alert(1)</script>"'&</title></style>--><img src=x onerror=alert(2)> http://example.com/`
