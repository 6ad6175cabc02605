//go:build !race

package report

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var ones = []float64{1, 1, 1, 1, 1}

func TestRatioChartShowsWhatCannotBeTold(t *testing.T) {
	told := two(P99, ones, []float64{2, 2, 2, 2, 2.1})
	c := told.figureChart(told.Patterns[0], lookup(P99))
	assert.Contains(t, c.body, `class="dot ours"`)
	assert.Contains(t, c.body, "2.00 (2.00–2.10) ▼")
	assert.Contains(t, c.body, "base: 1.00 ms = ×1")
	assert.Contains(t, c.body, "← less is better")
	unclear := two(P99, ones, []float64{.9, 2, 2, 2, 2})
	c = unclear.figureChart(unclear.Patterns[0], lookup(P99))
	assert.Contains(t, c.body, `class="dot ours hollow"`)
	assert.NotContains(t, c.body, `class="dot ours"`)
}

// Ways on another server don't squeeze those that are compared.
func TestRatioChartPointsToWhatLiesBeyond(t *testing.T) {
	d := two(P99, ones, []float64{2, 2, 2, 2, 2})
	for name, value := range map[string]float64{"far": 1000, "near": 0.001} {
		d.Ways = append(d.Ways, Way{Name: name, Server: "another"})
		d.Cells = append(d.Cells, cellOfValues(name, P99, []float64{value, value, value, value, value}))
	}
	c := d.figureChart(d.Patterns[0], lookup(P99))
	arrows := regexp.MustCompile(`<path class="dot " d="M[\d.]+ [\d.]+L`).FindAllString(c.body, -1)
	require.Len(t, arrows, 2, "the triangle of neither of them, but an arrow")
	assert.Contains(t, c.body, "1,000 (1,000–1,000) ▼")
	assert.NotContains(t, c.body, "×1,000", "the axis does not reach so far")
}

func TestRatioChartPutsTheBestFirst(t *testing.T) {
	d := sample(1, 5)
	for figure, first := range map[string]string{RequestsPerSecond: "nginx, reuseport", CPU: "nginx, reuseport", P99: "nginx, reuseport"} {
		body := d.figureChart(d.Patterns[1], lookup(figure)).body
		assert.Less(t, strings.Index(body, first), strings.Index(body, "<title>multinode:"), figure)
		assert.Less(t, strings.Index(body, "<title>multinode:"), strings.Index(body, "gunicorn"), figure)
	}
}

func TestFigureChartShowsValuesWithoutABaseline(t *testing.T) {
	d := two(P99, nil, []float64{1, 2, 3, 4, 5})
	c := d.figureChart(d.Patterns[0], lookup(P99))
	assert.Contains(t, c.body, "3.00 (1.00–5.00)")
	assert.Contains(t, c.body, "p99 latency, ms; ← less is better")
	assert.NotContains(t, c.body, "×")
}

func TestLatencyChartTakesTheFiguresWhereThereIsNothingElse(t *testing.T) {
	d := two(P99, ones, ones)
	d.Cells[1].Samples[0].Figures[Max] = 9
	body := d.latencyChart(d.Patterns[0]).body
	for _, tick := range []string{">p50<", ">p90<", ">p99<", ">max<"} {
		assert.Contains(t, body, tick)
	}
	assert.NotContains(t, body, ">p99.9<")
}

func TestQueueChartNamesWhatIsAlwaysEmpty(t *testing.T) {
	d := two(QueueMax, ones, ones)
	d.Cells[0].Samples[0].Queue = []Point{{0, 0}, {1, 0}}
	d.Cells[1].Samples[0].Queue = []Point{{0, 0}, {1, 7}}
	c := d.queueChart(d.Patterns[0])
	assert.Contains(t, c.about, "Always empty: base.")
	assert.NotContains(t, c.body, "<title>base</title>")
	assert.Contains(t, c.body, "<title>way</title>")
	d.Cells[1].Samples[0].Queue = nil
	assert.Empty(t, d.queueChart(d.Patterns[0]).body)
}

// The longest queue within a slice of time counts, and then the median of the rounds.
func TestQueueIsTheMedianOfTheLongest(t *testing.T) {
	d := two(QueueMax, nil, ones)
	for i := range d.Cells[1].Samples {
		d.Cells[1].Samples[i].Queue = []Point{{0, 0}, {0.001, float64(10 * i)}, {0.002, 1}, {60, float64(i)}}
	}
	p := d.Patterns[0]
	assert.Equal(t, []position{{0.5, 20}, {59.5, 2}}, d.queue(p, d.Ways[1], d.queueEnd(p)))
}

func TestOverviewMarksFailures(t *testing.T) {
	d := two(P99, ones, ones)
	d.Cells[1].Samples[4].Failures = map[string]int64{"refused": 1}
	rows := d.overview().Rows
	require.Len(t, rows, 2)
	assert.Equal(t, changeCell{Text: "1.00"}, rows[0].Cells[0])
	assert.Equal(t, changeCell{Text: "×1.00", Verdict: Unclear, Failed: true}, rows[1].Cells[0])
	assert.Contains(t, written(t, d.WriteText), "way !")
}

func TestTicks(t *testing.T) {
	narrow := func(float64) float64 { return 1 }
	wide := func(float64) float64 { return 60 }
	for _, c := range []struct {
		name  string
		scale scale
		room  func(float64) float64
		want  string
	}{
		{"a ratio near 1", logarithmic([]float64{1, 1.02}), wide, "1 1.1"},
		{"a decade", logarithmic([]float64{1, 10}), narrow, "1 1.5 2 3 5 7 10"},
		{"a decade, wide labels", logarithmic([]float64{1, 10}), wide, "1 3 10"},
		{"many decades", logarithmic([]float64{1, 1e4}), wide, "1 100 10,000"},
		{"from zero", linear(0, []float64{10}), wide, "0 5 10"},
		{"nothing", linear(0, nil), wide, "0 0.5 1"},
		{"few and many", counted([]float64{100}), narrow, "0 1 2 3 5 7 10 15 20 30 50 70 100"},
	} {
		c.scale.from, c.scale.to = 0, 200
		var ticks []string
		for _, t := range c.scale.ticks(c.room) {
			ticks = append(ticks, tickText(t))
		}
		assert.Equal(t, c.want, strings.Join(ticks, " "), c.name)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width float64
		want  []string
	}{
		{"short", 100, []string{"short"}},
		{"", 100, []string{""}},
		{"two words", 40, []string{"two", "words"}},
		{"three words here", 45, []string{"three", "word…"}},
		{"unbreakable", 40, []string{"unbr…"}},
	} {
		assert.Equal(t, c.want, wrap(c.text, c.width, 2), c.text)
		assert.LessOrEqual(t, widest(wrap(c.text, c.width, 2)), c.width, c.text)
	}
}
