package bus

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// samples holds a message of each kind.
func samples() []message {
	return []message{
		{kind: kindHello, id: version, bytes: 1 << 20},
		{kind: kindSubscribe, id: 1, data: []byte("topic")},
		{kind: kindSubscribe, id: math.MaxUint64, data: []byte(strings.Repeat("ü", maxTopic/2))},
		{kind: kindUnsubscribe, id: 300},
		{kind: kindPublish, id: 127, typ: framing.Binary, data: []byte{}},
		{kind: kindPublish, id: 128, typ: framing.Text, data: []byte(`{"a":1}`)},
		{kind: kindRequest, id: 1, number: 1 << 40, typ: framing.Binary, data: []byte{0, 0xff}},
		{kind: kindAnswer, number: 1, typ: framing.Text, data: []byte("null")},
		{kind: kindFailure, number: 2, reason: reasonError, data: []byte("no")},
		{kind: kindFailure, number: 2, reason: 200, data: []byte{}},
		{kind: kindCredit, id: 1, count: math.MaxUint64, bytes: math.MaxUint64},
		{kind: kindFlush},
		{kind: kindFlushed, number: 1},
	}
}

func encoded(m message) []byte { return append(m.appendHead(nil), m.data...) }

func TestMessagesComeBack(t *testing.T) {
	t.Parallel()
	for _, m := range samples() {
		assert.LessOrEqual(t, len(m.appendHead(nil)), maxHead)
		got, err := parse(encoded(m))
		require.NoError(t, err)
		assert.Equal(t, m, got)
	}
}

func TestParseRefusesWhatIsCutOff(t *testing.T) {
	t.Parallel()
	for _, m := range samples() {
		whole := encoded(m)
		if m.kind != kindSubscribe {
			whole = m.appendHead(nil) // the data may have any length
		}
		for n := range whole {
			_, err := parse(whole[:n])
			require.Error(t, err, "%d of %x", n, whole)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, message string }{
		{"nothing", ""},
		{"number of 65 bits", "\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"},
		{"value that is a ping", "\x04\x01\x09"},
		{"empty topic", "\x02\x01\x00"},
		{"topic that is not UTF-8", "\x02\x01\x01\xff"},
	}
	for _, tt := range tests {
		_, err := parse([]byte(tt.message))
		assert.Error(t, err, tt.name)
	}
}

// A later version may add kinds, and fields at the end.
func TestParseSkipsWhatIsNew(t *testing.T) {
	t.Parallel()
	m, err := parse([]byte("\xc8whatever"))
	require.NoError(t, err)
	assert.Equal(t, message{kind: 200}, m)
	for _, m := range samples() {
		switch m.kind {
		case kindPublish, kindRequest, kindAnswer, kindFailure:
			continue
		default:
		}
		got, err := parse(append(encoded(m), "new"...))
		require.NoError(t, err)
		assert.Equal(t, m, got)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range samples() {
		f.Add(encoded(m))
	}
	f.Add([]byte("\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if id, typ, data, ok := published(b); ok != (err == nil && m.kind == kindPublish) ||
			ok && (id != m.id || typ != m.typ || !bytes.Equal(data, m.data)) {
			t.Fatalf("%x: published: %v %v %x %v, parse: %+v, %v", b, id, typ, data, ok, m, err)
		}
		if err != nil || m.kind == 0 || m.kind > kindFlushed {
			return
		}
		again, err := parse(encoded(m))
		if err != nil || again.kind != m.kind || !bytes.Equal(again.data, m.data) {
			t.Fatalf("%x: %+v, then %+v, %v", b, m, again, err)
		}
		again.data = m.data
		assert.Equal(t, m, again)
	})
}
