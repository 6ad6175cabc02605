package invalidate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type name string

type pair struct {
	Table string
	ID    int
}

type secret struct {
	Table string
	id    int
}

func comesBack[K comparable](t *testing.T, key K) {
	t.Helper()
	codec := defaultCodec[K]()
	b, err := codec.Append([]byte("before"), key)
	require.NoError(t, err)
	assert.Equal(t, "before", string(b[:6]))
	back, err := codec.Parse(b[6:])
	require.NoError(t, err)
	assert.Equal(t, key, back)
}

// roman is a number with a JSON of its own.
type roman int

func (r roman) MarshalText() ([]byte, error) { return []byte(strings.Repeat("I", int(r))), nil }

func (r *roman) UnmarshalText(text []byte) error {
	*r = roman(len(text))
	return nil
}

func TestKeys(t *testing.T) {
	t.Parallel()
	comesBack(t, "a \x00 \xff string")
	comesBack(t, "")
	comesBack(t, name("named"))
	comesBack(t, -7)
	comesBack(t, uint64(1<<63))
	comesBack(t, int8(-128))
	comesBack(t, uintptr(7))
	comesBack(t, roman(3))
	comesBack(t, pair{"products", 7})
	comesBack(t, [2]int{1, 2})
	comesBack(t, 1.5)
	comesBack(t, time.Second)
}

func TestKeyWithItsOwnJSON(t *testing.T) {
	t.Parallel()
	b, err := defaultCodec[roman]().Append(nil, 3)
	require.NoError(t, err)
	assert.Equal(t, `"III"`, string(b))
}

// Keys that another process would take for others.
func TestKeysThatDoNotComeBack(t *testing.T) {
	t.Parallel()
	n := 7
	_, err := defaultCodec[secret]().Append(nil, secret{"products", 7})
	require.ErrorContains(t, err, "set Options.Codec")
	_, err = defaultCodec[*int]().Append(nil, &n)
	require.ErrorContains(t, err, "set Options.Codec")
	_, err = defaultCodec[any]().Append(nil, 7)
	require.ErrorContains(t, err, "set Options.Codec")
	_, err = defaultCodec[chan int]().Append(nil, nil)
	require.ErrorContains(t, err, "set Options.Codec")
	_, err = defaultCodec[int]().Parse([]byte("x"))
	require.ErrorContains(t, err, "set Options.Codec")
}
