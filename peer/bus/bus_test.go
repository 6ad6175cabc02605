package bus

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	a, b := pair(t, Options{})
	subscribe(t, b, "echo", echo)
	m, err := a.Request(limited(t), 2, "echo", []byte("hello"))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(m.Data))
	assert.Equal(t, b.info, m.From)
	assert.Equal(t, "echo", m.Topic)
}
