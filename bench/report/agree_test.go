package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAgree(t *testing.T) {
	first, second := sample(1, 5), sample(1, 5)
	same := Agree(false, first, second)
	assert.Positive(t, same.Pairs)
	assert.Empty(t, same.Apart)
	assert.Less(t, Agree(true, first, second).Pairs, same.Pairs)
	assert.Equal(t, 3*same.Pairs, Agree(false, first, second, sample(1, 5)).Pairs, "each with each")

	figure := second.Patterns[0].Figures[0]
	c := cellOf(second, second.Patterns[0].Name, "multinode")
	for _, s := range c.Samples {
		s.Figures[figure] *= 100
	}
	apart := Agree(true, first, second)
	assert.Len(t, apart.Apart, 1)
	assert.Contains(t, apart.Apart[0], c.Way)
	assert.Contains(t, apart.Apart[0], c.Pattern)
	assert.Zero(t, Agree(false, sample(1, 4), sample(1, 4)).Pairs, "too few rounds to tell")
}
