package closehooks

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestList(t *testing.T) {
	var l List
	calls := 0
	call := func() { calls++ }
	l.Add(call)
	l.Add(call)
	l.Add(func() { t.Error("taken back") })()
	l.Call()
	assert.Equal(t, 2, calls)
	l.Call()
	assert.Equal(t, 2, calls, "once")
	remove := l.Add(call)
	assert.Equal(t, 3, calls, "at once")
	remove()
}
