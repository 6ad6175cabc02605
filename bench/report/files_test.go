package report

import (
	"bytes"
	"errors"
	"math"
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

var errFull = errors.New("disk is full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWritersReturnErrors(t *testing.T) {
	for name, write := range writers(sample(1, 1)) {
		require.ErrorIs(t, write(fullDisk{}), errFull, name)
	}
	assert.ErrorContains(t, sample(1, 1).WriteCharts("/dev/null/charts"), "report: write charts")
}
