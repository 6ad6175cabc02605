package wire

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sampleMessages() []Message {
	ops := AppendOp(AppendOp(AppendOp(nil, OpKey, []byte("k")), OpAll, nil), OpBegin, bytes.Repeat([]byte("x"), 300))
	return []Message{
		{Kind: Change, Session: 7, Seq: 300, Ops: ops},
		{Kind: Sync, Session: 1 << 63, Seq: 1 << 40, Ops: []byte{}},
		{Kind: Ack, Session: 7, Seq: 1, Ops: []byte{}},
		{Kind: Ask, Session: 7, Seq: 1, Own: 9, Time: 2 * time.Second, Ops: bytes.Repeat([]byte{7}, 2*IncarnationSize)},
		{Kind: Grant, Session: 7, Seq: 0, Time: time.Minute, Ops: []byte{}},
		{Kind: Bye, Session: 7, Seq: 0, Ops: []byte{}},
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, m := range sampleMessages() {
		b := m.Encode()
		got, err := Parse(b)
		require.NoError(t, err)
		assert.Equal(t, m, got)
		for n := range len(b) - len(m.Ops) {
			_, err := Parse(b[:n])
			require.Error(t, err, "%d bytes", n)
		}
	}
}

func TestMessagesThatCannotBe(t *testing.T) {
	t.Parallel()
	good := (&Message{Kind: Ask, Own: 1, Time: 1}).Encode()
	tests := map[string][]byte{
		"empty":          nil,
		"other version":  append([]byte{version + 1}, good[1:]...),
		"kind 0":         append([]byte{version, 0}, good[2:]...),
		"unknown kind":   append([]byte{version, 99}, good[2:]...),
		"no lease":       (&Message{Kind: Ask}).Encode(),
		"half a process": append(bytes.Clone(good), 1),
		"long time":      (&Message{Kind: Grant, Time: MaxCommit + 1}).Encode(),
		"long lease":     (&Message{Kind: Ask, Time: MaxLease + 1}).Encode(),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(b)
			assert.Error(t, err)
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(m.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		size := 0
		err = EachOp(m.Ops, func(_ Op, data []byte) error {
			size += len(data)
			return nil
		})
		if err == nil && size > len(b) {
			t.Error("ops of more bytes than there are")
		}
		again, err := Parse(m.Encode())
		if err != nil || again.Kind != m.Kind || again.Seq != m.Seq || !bytes.Equal(again.Ops, m.Ops) {
			t.Error("it does not come back", m, again, err)
		}
	})
}
