package rendezvous

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIncarnationText(t *testing.T) {
	i := NewIncarnation()
	require.NotZero(t, i)
	assert.Len(t, i.String(), 16)
	content, err := json.Marshal(Node{Incarnation: i})
	require.NoError(t, err)
	var n Node
	require.NoError(t, json.Unmarshal(content, &n))
	assert.Equal(t, i, n.Incarnation)
	for _, bad := range []string{"", "12", "9F86D081884C7D65", "9f86d081884c7d651", "+f86d081884c7d65", "9f86d081884c7d6 "} {
		assert.ErrorContains(t, new(Incarnation).UnmarshalText([]byte(bad)), "16 hexadecimal digits", bad)
	}
}

func TestParseFile(t *testing.T) {
	want := Node{3, 0x9f86d081884c7d65}
	for _, file := range []string{"3-9f86d081884c7d65.lock", "3-9f86d081884c7d65.sock", ".3-9f86d081884c7d65.sock"} {
		n, ok := parseFile(file)
		assert.True(t, ok, file)
		assert.Equal(t, want, n, file)
	}
	for _, file := range []string{
		"", ".", "master.lock", "master.sock", "3.sock", "-9f86d081884c7d65.sock", "03-9f86d081884c7d65.sock",
		"+3-9f86d081884c7d65.sock", "-3-9f86d081884c7d65.sock", "3-9F86D081884C7D65.sock", "3-9f86d081884c7d6.sock",
		".3-9f86d081884c7d65.lock", "..3-9f86d081884c7d65.sock", "3-9f86d081884c7d65", "3-9f86d081884c7d65.sock.lock",
		"3-0000000000000000.sock", "99999999999999999999-9f86d081884c7d65.sock",
	} {
		_, ok := parseFile(file)
		assert.False(t, ok, file)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("3-9f86d081884c7d65.lock")
	f.Add(".3-9f86d081884c7d65.sock")
	f.Add("master.lock")
	f.Fuzz(func(t *testing.T, file string) {
		n, ok := parseFile(file)
		if ok && file != n.LockName() && file != n.SocketName() && file != n.hidden() {
			t.Errorf("%q is not a name of node %v", file, n)
		}
	})
}
