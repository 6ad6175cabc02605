package invalidate

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sampleMessages() []message {
	ops := appendOp(appendOp(appendOp(nil, opKey, []byte("k")), opAll, nil), opBegin, bytes.Repeat([]byte("x"), 300))
	return []message{
		{kind: kindChange, session: 7, seq: 300, ops: ops},
		{kind: kindSync, session: 1 << 63, seq: 1 << 40, ops: []byte{}},
		{kind: kindAck, session: 7, seq: 1, ops: []byte{}},
		{kind: kindAsk, session: 7, seq: 1, own: 9, time: defaultLease, ops: bytes.Repeat([]byte{7}, 2*incarnationSize)},
		{kind: kindGrant, session: 7, seq: 0, time: defaultCommit, ops: []byte{}},
		{kind: kindBye, session: 7, seq: 0, ops: []byte{}},
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, m := range sampleMessages() {
		b := m.encode()
		got, err := parse(b)
		require.NoError(t, err)
		assert.Equal(t, m, got)
		for n := range len(b) - len(m.ops) {
			_, err := parse(b[:n])
			require.Error(t, err, "%d bytes", n)
		}
	}
}

func TestMessagesThatCannotBe(t *testing.T) {
	t.Parallel()
	good := (&message{kind: kindAsk, own: 1, time: 1}).encode()
	tests := map[string][]byte{
		"empty":          nil,
		"other version":  append([]byte{wireVersion + 1}, good[1:]...),
		"kind 0":         append([]byte{wireVersion, 0}, good[2:]...),
		"unknown kind":   append([]byte{wireVersion, 99}, good[2:]...),
		"no lease":       (&message{kind: kindAsk}).encode(),
		"half a process": append(bytes.Clone(good), 1),
		"long time":      (&message{kind: kindGrant, time: maxCommit + 1}).encode(),
		"long lease":     (&message{kind: kindAsk, time: maxLease + 1}).encode(),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(b)
			assert.Error(t, err)
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(m.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		size := 0
		err = eachOp(m.ops, func(_ op, data []byte) error {
			size += len(data)
			return nil
		})
		if err == nil && size > len(b) {
			t.Error("ops of more bytes than there are")
		}
		again, err := parse(m.encode())
		if err != nil || again.kind != m.kind || again.seq != m.seq || !bytes.Equal(again.ops, m.ops) {
			t.Error("it does not come back", m, again, err)
		}
	})
}
