package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJSONRoundTrip(t *testing.T) {
	d := sample(1, 5)
	var b bytes.Buffer
	require.NoError(t, d.WriteJSON(&b))
	assert.Zero(t, d.Version, "the document is not changed")
	again, err := ReadJSON(&b)
	require.NoError(t, err)
	d.Version = Version
	assert.Equal(t, d, again)
}

func TestJSONLeavesOutWhatIsNotFinite(t *testing.T) {
	d := two(P99, []float64{math.NaN(), 1}, []float64{math.Inf(1), 2})
	var b bytes.Buffer
	require.NoError(t, d.WriteJSON(&b))
	again, err := ReadJSON(&b)
	require.NoError(t, err)
	assert.Equal(t, Figures{}, again.Cells[0].Samples[0].Figures)
	assert.Equal(t, Figures{P99: 2}, again.Cells[1].Samples[1].Figures)
}

func TestReadJSONRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "hello", "no version": "{}", "another version": `{"version":2}`, "cut off": `{"version":1,"ways":[`,
	} {
		_, err := ReadJSON(strings.NewReader(text))
		assert.ErrorContains(t, err, "report: read JSON", name)
	}
}

func TestCSVHoldsAllValues(t *testing.T) {
	d := sample(1, 2)
	d.Cells[0].Samples[0].Figures["new, \"figure\""] = 0.1
	d.Cells[0].Samples[0].Figures[P50] = math.NaN()
	var b bytes.Buffer
	require.NoError(t, d.WriteCSV(&b))
	rows, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"pattern", "way", "round", "figure", "unit", "value"}, rows[0])
	got := map[[4]string]float64{}
	for _, r := range rows[1:] {
		value, err := strconv.ParseFloat(r[5], 64)
		require.NoError(t, err)
		got[[4]string{r[0], r[1], r[2], r[3]}] = value
	}
	assert.Len(t, got, len(rows)-1, "no value is there twice")
	assert.Equal(t, valuesOf(d), got)
}

func valuesOf(d *Document) map[[4]string]float64 {
	values := map[[4]string]float64{}
	for _, c := range d.Cells {
		for _, s := range c.Samples {
			round := strconv.Itoa(s.Round)
			sum := 0.0
			for kind, n := range s.Failures {
				values[[4]string{c.Pattern, c.Way, round, "failures:" + kind}] = float64(n)
				sum += float64(n)
			}
			values[[4]string{c.Pattern, c.Way, round, Failures}] = sum
			for name, value := range s.Figures {
				if !math.IsNaN(value) {
					values[[4]string{c.Pattern, c.Way, round, name}] = value
				}
			}
		}
	}
	return values
}

var errFull = errors.New("disk is full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWritersReturnErrors(t *testing.T) {
	for name, write := range writers(sample(1, 1)) {
		require.ErrorIs(t, write(fullDisk{}), errFull, name)
	}
	assert.ErrorContains(t, sample(1, 1).WriteCharts("/dev/null/charts"), "report: write charts")
}
