package proc

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPrefixerKeepsLinesWhole(t *testing.T) {
	var out bytes.Buffer
	p := &prefixer{out: &out}
	one, two := p.writer("slot 1 | "), p.writer("slot 2 | ")
	for _, w := range []struct {
		to   *prefixed
		text string
	}{{one, "a"}, {two, "x\n"}, {one, "b\nc\nd"}, {two, strings.Repeat("y", maxOutputLine)}} {
		n, err := w.to.Write([]byte(w.text))
		require.NoError(t, err)
		assert.Len(t, w.text, n)
	}
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	assert.Equal(t, "slot 2 | x\nslot 1 | ab\nslot 1 | c\nslot 2 | "+strings.Repeat("y", maxOutputLine)+"\nslot 1 | d\n", out.String())
}
