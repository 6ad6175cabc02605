package errline_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/errline"
)

func TestJoin(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	err := errline.Join(first, second)
	require.ErrorIs(t, err, first)
	require.ErrorIs(t, err, second)
	require.EqualError(t, err, "first; second")
	for _, err := range []error{errline.Join(first, nil), errline.Join(nil, first)} {
		require.ErrorIs(t, err, first)
		require.EqualError(t, err, "first")
	}
	assert.NoError(t, errline.Join(nil, nil))
}
