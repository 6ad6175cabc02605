//go:build !race

package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var ones = []float64{1, 1, 1, 1, 1}

// dots are what a chart of dots shows, all of which is drawn.
func dots(t *testing.T, c chart) dotChart {
	t.Helper()
	d, ok := c.drawing.(dotChart)
	require.True(t, ok)
	want := []string{d.axis, d.reference}
	for _, r := range d.rows {
		want = append(want, r.way.title(), r.note)
	}
	for _, words := range want {
		assert.Contains(t, html.UnescapeString(string(c.SVG())), words)
	}
	return d
}

func TestRatioChartShowsWhatCannotBeTold(t *testing.T) {
	told := two(P99, ones, []float64{2, 2, 2, 2, 2.1})
	c := dots(t, told.figureChart(told.Patterns[0], lookup(P99)))
	assert.Equal(t, []mark{{Estimate: Estimate{2, 2, 2.1, 5}, shape: diamond}}, c.rows[0].marks)
	assert.Equal(t, "2.00 (2.00–2.10) ▼", c.rows[0].note)
	assert.Equal(t, "base: 1.00 ms = ×1", c.reference)
	assert.Contains(t, c.axis, "← less is better")
	unclear := two(P99, ones, []float64{.9, 2, 2, 2, 2})
	c = dots(t, unclear.figureChart(unclear.Patterns[0], lookup(P99)))
	assert.True(t, c.rows[0].marks[0].hollow)
}

// Ways on another server don't squeeze those that are compared.
func TestRatioChartPointsToWhatLiesBeyond(t *testing.T) {
	d := two(P99, ones, []float64{2, 2, 2, 2, 2})
	for name, value := range map[string]float64{"far": 1000, "near": 0.001} {
		d.Ways = append(d.Ways, Way{Name: name, Server: "another"})
		d.Cells = append(d.Cells, cellOfValues(name, P99, []float64{value, value, value, value, value}))
	}
	c := dots(t, d.figureChart(d.Patterns[0], lookup(P99)))
	require.Len(t, c.rows, 3)
	assert.Less(t, c.rows[0].marks[0].Median, c.x.low)
	assert.Greater(t, c.rows[2].marks[0].Median, c.x.high)
	assert.Equal(t, "1,000 (1,000–1,000) ▼", c.rows[2].note)
}

func TestRatioChartPutsTheBestFirst(t *testing.T) {
	d := sample(1, 5)
	for figure, first := range map[string]string{RequestsPerSecond: "nginx, reuseport", CPU: "nginx, reuseport", P99: "nginx, reuseport"} {
		var ways []string
		for _, r := range dots(t, d.figureChart(d.Patterns[1], lookup(figure))).rows {
			ways = append(ways, r.way.title())
		}
		assert.Less(t, slices.Index(ways, first), slices.Index(ways, "multinode"), figure)
		assert.Less(t, slices.Index(ways, "multinode"), slices.Index(ways, "gunicorn, gevent workers"), figure)
	}
}

func TestFigureChartShowsValuesWithoutABaseline(t *testing.T) {
	d := two(P99, nil, []float64{1, 2, 3, 4, 5})
	c := d.figureChart(d.Patterns[0], lookup(P99))
	assert.Equal(t, "3.00 (1.00–5.00)", dots(t, c).rows[0].note)
	assert.Equal(t, "p99 latency, ms; ← less is better", dots(t, c).axis)
	assert.NotContains(t, c.SVG(), "×")
}

func TestLatencyChartEndsWithTheSlowest(t *testing.T) {
	d := two(P99, ones, ones)
	d.Cells[1].Samples[0].Latency = []Quantile{{0.5, 1}, {0.9, 2}, {0.99, 3}, {1, 9}}
	body := d.latencyChart(d.Patterns[0]).SVG()
	for _, tick := range []string{">p50<", ">p90<", ">p99<", ">max<"} {
		assert.Contains(t, body, tick)
	}
	assert.NotContains(t, body, ">p99.9<")
	d.Cells[1].Samples[0].Latency = nil
	assert.Nil(t, d.latencyChart(d.Patterns[0]).drawing)
}

func TestQueueChartNamesWhatIsAlwaysEmpty(t *testing.T) {
	d := two(QueueMax, ones, ones)
	d.Cells[0].Samples[0].Queue = []Point{{0, 0}, {1, 0}}
	d.Cells[1].Samples[0].Queue = []Point{{0, 0}, {1, 7}}
	c := d.queueChart(d.Patterns[0])
	assert.Contains(t, c.About, "Always empty: base.")
	assert.NotContains(t, c.SVG(), ">base<")
	assert.Contains(t, c.SVG(), ">way<")
	d.Cells[1].Samples[0].Queue = nil
	assert.Nil(t, d.queueChart(d.Patterns[0]).drawing)
}

// The longest queue within a slice of time counts, and then the median of the rounds.
func TestQueueIsTheMedianOfTheLongest(t *testing.T) {
	d := two(QueueMax, nil, ones)
	for i := range d.Cells[1].Samples {
		d.Cells[1].Samples[i].Queue = []Point{{0, 0}, {0.001, float64(10 * i)}, {0.002, 1}, {60, float64(i)}}
	}
	p := d.Patterns[0]
	assert.Equal(t, plotter.XYs{{X: 0.5, Y: 20}, {X: 59.5, Y: 2}}, d.queue(p, d.Ways[1], d.queueEnd(p)))
}

func TestOverviewMarksFailures(t *testing.T) {
	d := two(P99, ones, ones)
	d.Cells[1].Samples[4].Failures = map[string]int64{"refused": 1}
	p := d.page()
	assert.Equal(t, cell{Text: "1.00"}, p.Overview(d.Patterns[0], d.Ways[0]))
	assert.Equal(t, cell{Text: "×1.00", Verdict: Unclear, Failed: true}, p.Overview(d.Patterns[0], d.Ways[1]))
	assert.Contains(t, written(t, d.WriteText), "way !")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		name  string
		scale scale
		want  string
	}{
		{"a ratio near 1", logarithmic([]float64{1, 1.02}, 0), "0.96 0.99 1.02 1.05"},
		{"a decade", logarithmic([]float64{1, 10}, 0), "1 2 5 10"},
		{"two decades", logarithmic([]float64{1, 100}, 0), "1 3 10 30 100"},
		{"many decades", logarithmic([]float64{1, 1e4}, 0), "1 10 100 1,000 10,000"},
		{"very many decades", logarithmic([]float64{1, 1e12}, 0), "1 1,000 1,000,000 1,000,000,000 1,000,000,000,000"},
		{"from zero", linear(0, []float64{10}), "0 5 10"},
		{"nothing", linear(0, nil), "0 0.5 1"},
		{"less than one", counted([]float64{0.5}), "0 0.25 0.5"},
		{"one", counted([]float64{1}), "0 0.5 1"},
		{"few", counted([]float64{2}), "0 1 2"},
		{"few and many", counted([]float64{100}), "0 1 3 10 30 100"},
	} {
		var ticks []string
		for _, t := range c.scale.ticks {
			ticks = append(ticks, c.scale.format(t))
		}
		assert.Equal(t, c.want, strings.Join(ticks, " "), c.name)
	}
}

func TestShorten(t *testing.T) {
	style := lettering("")
	for words, want := range map[string]string{
		"short": "short", "": "", "two words": "two words", "three words here": "three wor…", "a\nb\x00\xff": "a b \ufffd",
	} {
		assert.Equal(t, want, shorten(style, words, 65), words)
		assert.LessOrEqual(t, style.Width(shorten(style, words, 65)), vg.Length(65), words)
	}
}
