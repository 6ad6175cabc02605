package framing_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

// FuzzDecoder decodes any bytes, at once and in parts: both give the same, with no more memory than has arrived, and
// what was decoded, encoded again, is decoded to the same.
func FuzzDecoder(f *testing.F) {
	for _, tt := range decoderValid {
		if in := bytes.Join(tt.in, nil); len(in) < 1000 {
			f.Add(in, uint8(3))
		}
	}
	for _, tt := range decoderInvalid {
		if in := bytes.Join(tt.in, nil); len(in) < 1000 {
			f.Add(in, uint8(3))
		}
	}
	const limit = 10_000
	f.Fuzz(func(t *testing.T, in []byte, part uint8) {
		got, err := decode(framing.NewDecoder(limit), in, len(in)+1)
		checkDecoded(t, got, err, limit)

		d := framing.NewDecoder(limit)
		inParts, errInParts := decode(d, in, int(part)+1)
		assert.Equal(t, got, inParts)
		assert.Equal(t, err, errInParts)
		if errInParts == nil {
			assert.LessOrEqual(t, len(d.Buffer()), 2*(4096+len(in)))
		}

		var again []byte
		for _, m := range got {
			again = framing.AppendFrame(again, m.Type, m.Data)
		}
		stable, err := decode(framing.NewDecoder(limit), again, len(again)+1)
		assert.Equal(t, got, stable)
		assert.True(t, err == nil || err == io.EOF) //nolint:errorlint // the very value
	})
}

func checkDecoded(t *testing.T, got []framing.Message, err error, limit int) {
	t.Helper()
	if err != nil && !errors.Is(err, io.EOF) {
		violation, ok := errors.AsType[*framing.ProtocolError](err)
		require.True(t, ok, "%v", err)
		assert.Contains(t, []framing.Code{framing.CodeProtocol, framing.CodeInvalidData, framing.CodeTooBig}, violation.Code)
	}
	for i, m := range got {
		assert.LessOrEqual(t, len(m.Data), limit)
		if m.Type == framing.Close {
			assert.Equal(t, len(got)-1, i)
			assert.ErrorIs(t, err, io.EOF)
		}
	}
}

// FuzzMessage sends any value that JSON can hold, and any bytes, and decodes what arrives to the same.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"a": [1, null, "\u00e9"]}`))
	f.Add([]byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any = data
		var parsed any
		if json.Unmarshal(data, &parsed) == nil { // what is valid JSON can still be a number too large for a float64
			value = parsed
		}
		for _, v := range []any{value, data} {
			encoded, err := framing.Encode(v)
			require.NoError(t, err)
			var stream frameStream
			c := framing.New(&stream, framing.Options{})
			require.NoError(t, c.SendEncoded(t.Context(), encoded))
			require.Error(t, c.Close(framing.CodeNormal, ""), "the stream ends")
			got, err := decode(framing.NewDecoder(0), stream.Bytes(), 100)
			require.ErrorIs(t, err, io.EOF)
			require.Len(t, got, 2)
			var back any
			require.NoError(t, got[0].Decode(&back))
			assert.Equal(t, v, back)
		}
	})
}

// frameStream keeps what is written, and has nothing to read.
type frameStream struct{ bytes.Buffer }

func (*frameStream) Read([]byte) (int, error) { return 0, io.EOF }
func (*frameStream) Close() error             { return nil }
