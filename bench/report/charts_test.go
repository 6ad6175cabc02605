//go:build !race

package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var ones = []float64{1, 1, 1, 1, 1}

// ratios are what the chart of a figure shows, all of which is drawn.
func ratios(t *testing.T, s section, figure string) (rows []row, c chart) {
	t.Helper()
	rows, c = s.ratios(lookup(figure)), s.figureChart(lookup(figure))
	for _, r := range rows {
		assert.Contains(t, drawn(c), r.Way.Title)
		assert.Contains(t, drawn(c), r.note)
	}
	return rows, c
}

func drawn(c chart) string { return html.UnescapeString(string(c.SVG())) }

func TestRatioChartShowsWhatCannotBeTold(t *testing.T) {
	told := two(P99, ones, []float64{2, 2, 2, 2, 2.1})
	rows, c := ratios(t, told.view().Sections[0], P99)
	assert.Equal(t, []mark{{Estimate: Estimate{2, 2, 2.1, 5}, shape: diamond}}, rows[0].marks)
	assert.Equal(t, "2.00 (2.00–2.10) ▼", rows[0].note)
	assert.Contains(t, drawn(c), ">base: 1.00 ms = ×1<")
	assert.Contains(t, drawn(c), "← less is better")
	untold := two(P99, ones, []float64{.9, 2, 2, 2, 2})
	rows, _ = ratios(t, untold.view().Sections[0], P99)
	assert.True(t, rows[0].marks[0].hollow)
}

// Ways on another server don't squeeze those that are compared.
func TestRatioChartPointsToWhatLiesBeyond(t *testing.T) {
	d := two(P99, ones, []float64{2, 2, 2, 2, 2})
	for name, value := range map[string]float64{"far": 1000, "near": 0.001} {
		d.Ways = append(d.Ways, Way{Name: name, Server: "another"})
		d.Cells = append(d.Cells, cellOfValues(name, P99, []float64{value, value, value, value, value}))
	}
	rows, c := ratios(t, d.view().Sections[0], P99)
	require.Len(t, rows, 3)
	assert.Less(t, rows[0].marks[0].Median, c.plot.X.Min)
	assert.Greater(t, rows[2].marks[0].Median, c.plot.X.Max)
	assert.Equal(t, "1,000 (1,000–1,000) ▼", rows[2].note)
}

func TestRatioChartPutsTheBestFirst(t *testing.T) {
	d := sample(1, 5)
	for figure, first := range map[string]string{RequestsPerSecond: "nginx, reuseport", CPU: "nginx, reuseport", P99: "nginx, reuseport"} {
		var ways []string
		rows, _ := ratios(t, d.view().Sections[1], figure)
		for _, r := range rows {
			ways = append(ways, r.Way.Title)
		}
		assert.Less(t, slices.Index(ways, first), slices.Index(ways, "multinode"), figure)
		assert.Less(t, slices.Index(ways, "multinode"), slices.Index(ways, "gunicorn, gevent workers"), figure)
	}
}

func TestFigureChartShowsValuesWithoutABaseline(t *testing.T) {
	d := two(P99, nil, []float64{1, 2, 3, 4, 5})
	c := d.view().Sections[0].figureChart(lookup(P99))
	assert.Contains(t, drawn(c), ">3.00 (1.00–5.00)<")
	assert.Contains(t, drawn(c), ">p99 latency, ms; ← less is better<")
	assert.NotContains(t, c.SVG(), "×")
}

func TestLatencyChartEndsWithTheSlowest(t *testing.T) {
	d := two(P99, ones, ones)
	d.Cells[1].Samples[0].Latency = []Quantile{{0.5, 1}, {0.9, 2}, {0.99, 3}, {1, 9}}
	body := d.view().Sections[0].latencyChart().SVG()
	for _, tick := range []string{">p50<", ">p90<", ">p99<", ">max<"} {
		assert.Contains(t, body, tick)
	}
	assert.NotContains(t, body, ">p99.9<")
	d.Cells[1].Samples[0].Latency = nil
	assert.Nil(t, d.view().Sections[0].latencyChart().plot)
}

func TestQueueChartNamesWhatIsAlwaysEmpty(t *testing.T) {
	d := two(QueueMax, ones, ones)
	d.Cells[0].Samples[0].Queue = []Point{{0, 0}, {1, 0}}
	d.Cells[1].Samples[0].Queue = []Point{{0, 0}, {1, 7}}
	c := d.view().Sections[0].queueChart()
	assert.Contains(t, c.About, "Always empty: base.")
	assert.NotContains(t, c.SVG(), ">base<")
	assert.Contains(t, c.SVG(), ">way<")
	d.Cells[1].Samples[0].Queue = nil
	assert.Nil(t, d.view().Sections[0].queueChart().plot)
}

// The longest queue within a slice of time counts, and then the median of the rounds.
func TestQueueIsTheMedianOfTheLongest(t *testing.T) {
	d := two(QueueMax, nil, ones)
	for i := range d.Cells[1].Samples {
		d.Cells[1].Samples[i].Queue = []Point{{0, 0}, {0.001, float64(10 * i)}, {0.002, 1}, {60, float64(i)}}
	}
	s := d.view().Sections[0]
	lines := s.series(func(c Cell) map[float64][]float64 { return c.queues(s.queueEnd()) })
	require.Len(t, lines, 1)
	assert.Equal(t, plotter.XYs{{X: 0.5, Y: 20}, {X: 59.5, Y: 2}}, lines[0].points)
}

func TestOverviewMarksFailures(t *testing.T) {
	d := two(P99, ones, ones)
	d.Cells[1].Samples[4].Failures = map[string]int64{"refused": 1}
	overview := find(parse(t, written(t, d.WriteHTML)), func(n *html.Node) bool { return attribute(n, "class") == "overview" })
	require.Len(t, overview, 1)
	cells := find(overview[0], isElement("td"))
	require.Len(t, cells, 2)
	assert.Equal(t, "1.00 ", textOf(cells[0]))
	assert.Equal(t, "×1.00 ~ !", textOf(cells[1]))
	assert.Equal(t, "unclear", attribute(cells[1], "class"))
	assert.Contains(t, written(t, d.WriteText), "way !")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*plot.Axis)
		want string
	}{
		{"a ratio near 1", func(a *plot.Axis) { logarithmic(a, []float64{1, 1.02}, 0) }, "0.96 0.99 1.02 1.05"},
		{"a decade", func(a *plot.Axis) { logarithmic(a, []float64{1, 10}, 0) }, "1 2 5 10"},
		{"two decades", func(a *plot.Axis) { logarithmic(a, []float64{1, 100}, 0) }, "1 3 10 30 100"},
		{"many decades", func(a *plot.Axis) { logarithmic(a, []float64{1, 1e4}, 0) }, "1 10 100 1,000 10,000"},
		{"very many decades", func(a *plot.Axis) { logarithmic(a, []float64{1, 1e12}, 0) }, "1 1,000 1,000,000 1,000,000,000 1,000,000,000,000"},
		{"from zero", func(a *plot.Axis) { linear(a, 0, []float64{10}) }, "0 5 10"},
		{"nothing", func(a *plot.Axis) { linear(a, 0, nil) }, "0 0.5 1"},
		{"less than one", func(a *plot.Axis) { counted(a, []float64{0.5}) }, "0 0.25 0.5"},
		{"one", func(a *plot.Axis) { counted(a, []float64{1}) }, "0 0.5 1"},
		{"few", func(a *plot.Axis) { counted(a, []float64{2}) }, "0 1 2"},
		{"few and many", func(a *plot.Axis) { counted(a, []float64{100}) }, "0 1 3 10 30 100"},
	} {
		var ticks []string
		var a plot.Axis
		c.set(&a)
		for _, t := range a.Tick.Marker.Ticks(a.Min, a.Max) {
			ticks = append(ticks, t.Label)
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
