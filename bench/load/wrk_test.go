package load

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// correct is what wrk 4 does.
func correct(counts map[int64]int64, interval int64) {
	for value, count := range maps.Clone(counts) {
		if value < 2*interval {
			continue
		}
		for added := value - interval; added > interval; added -= interval {
			counts[added] += count
		}
	}
}

func wrkSays(counts map[int64]int64, requests, runtime int64) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Running 1s test @ http://127.0.0.1:1/\nsummary %d %d 0 0\n", requests, runtime)
	for value, count := range counts {
		fmt.Fprintf(&out, "latency %d %d\n", value, count)
	}
	return out.String()
}

func TestParseWrk(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	counts := make(map[int64]int64)
	for range 1000 {
		counts[random.Int64N(3000)+200]++
	}
	counts[500_000] = 2
	measured := maps.Clone(counts)
	const requests, runtime, connections = 1002, 1_000_000, 2
	correct(counts, runtime/(requests/connections))
	raw, shown, err := parseWrk(wrkSays(counts, requests, runtime), connections)
	require.NoError(t, err)
	assert.True(t, raw.Latency.Equals(histogramOf(measured).Histogram))
	assert.True(t, shown.Latency.Equals(histogramOf(counts).Histogram))
	assert.InDelta(t, 1002, raw.Rate, 0)
	assert.Greater(t, shown.Quantile(90), raw.Quantile(90))

	counts[400_000]++
	_, _, err = parseWrk(wrkSays(counts, requests, runtime), connections)
	require.ErrorContains(t, err, "not that of version 4")
	_, _, err = parseWrk("summary 100 1000 0 1\n", connections)
	assert.ErrorContains(t, err, "1 that failed")
}
