// Package difftest compares the decoder of package framing with that of github.com/gobwas/ws. It is a module of its own,
// so that users of the library do not get that dependency.
package difftest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

const limit = 2000

// verdict is the result of a decoder for a sequence of bytes.
type verdict string

const (
	incomplete verdict = "may go on"
	closed     verdict = "ends with a close frame"
	invalid    verdict = "is not valid"
)

// ours decodes with package framing, in parts.
func ours(in []byte, part int) (got []framing.Message, end verdict) {
	d := framing.NewDecoder(limit)
	for {
		m, ok, err := d.Next()
		switch {
		case errors.Is(err, io.EOF):
			return got, closed
		case err != nil:
			return got, invalid
		case ok:
			got = append(got, framing.Message{Type: m.Type, Data: append([]byte{}, m.Data...)})
		case len(in) == 0:
			return got, incomplete
		default:
			n := copy(d.Buffer(), in[:min(part, len(in))])
			d.Advance(n)
			in = in[n:]
		}
	}
}

// theirs decodes with gobwas/ws, as neither client nor server, so that masks are neither demanded nor refused.
func theirs(in []byte) (got []framing.Message, end verdict) {
	add := func(h ws.Header, payload io.Reader) error {
		data, err := io.ReadAll(payload)
		if err == nil && h.OpCode.IsControl() && int64(len(data)) < h.Length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if h.OpCode == ws.OpClose && !validClose(data) {
			return ws.ErrProtocolStatusCodeUnknown
		}
		got = append(got, framing.Message{Type: framing.Type(h.OpCode), Data: data})
		if h.OpCode == ws.OpClose {
			return errClosed
		}
		return nil
	}
	r := wsutil.Reader{Source: bytes.NewReader(in), CheckUTF8: true, MaxMessageSize: limit, OnIntermediate: add}
	for {
		h, err := r.NextFrame()
		if err == nil {
			err = add(h, &r)
		}
		switch {
		case errors.Is(err, errClosed):
			return got, closed
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return got, incomplete
		case err != nil:
			return got, invalid
		}
	}
}

var errClosed = errors.New("closed")

// validClose judges as gobwas/ws does, except the codes 1012 to 1014, which it does not know yet, and those above 4999,
// which it accepts although section 7.4.2 does not define them.
func validClose(payload []byte) bool {
	if len(payload) == 0 {
		return true
	}
	code, reason := ws.ParseCloseFrameData(payload)
	switch {
	case code >= 5000:
		return false
	case code >= 1012 && code <= 1014:
		code = ws.StatusNormalClosure
	}
	return ws.CheckCloseFrameData(code, reason) == nil
}

// shortest cuts in before the first frame whose length is not in its shortest form, which gobwas/ws lets pass.
func shortest(in []byte) []byte {
	r := bytes.NewReader(in)
	for {
		start := len(in) - r.Len()
		h, err := ws.ReadHeader(r)
		if err != nil {
			return in
		}
		if len(in)-r.Len()-start != ws.HeaderSize(h) {
			return in[:start]
		}
		if _, err := r.Seek(min(h.Length, int64(len(in))), io.SeekCurrent); err != nil {
			return in
		}
	}
}

func compare(t *testing.T, in []byte, part int) {
	t.Helper()
	in = shortest(in)
	ourGot, ourEnd := ours(in, part)
	theirGot, theirEnd := theirs(in)
	require.Equal(t, theirGot, ourGot, "%x", in)
	if ourEnd == invalid && theirEnd == incomplete {
		// We refuse earlier: a header by its first two bytes, a text by its first wrong byte. It must not become valid.
		longer := shortest(append(bytes.Clone(in), make([]byte, 1<<17)...))
		if len(longer) < len(in) {
			return
		}
		_, theirEnd = theirs(longer)
	}
	require.Equal(t, theirEnd, ourEnd, "%x", in)
}

func FuzzAgree(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		f.Add(sequence(rng), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, part uint16) { compare(t, in, int(part)+1) })
}

func TestAgree(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	ends := make(map[verdict]int)
	messages := 0
	for range 100_000 {
		in := sequence(rng)
		compare(t, in, 1+rng.IntN(len(in)+1))
		got, end := ours(in, len(in)+1)
		ends[end]++
		messages += len(got)
	}
	t.Logf("%d messages; %v", messages, ends)
	for _, end := range []verdict{incomplete, closed, invalid} {
		assert.Greater(t, ends[end], 5_000, end)
	}
}

// texts are parts of payloads: valid UTF-8, parts of characters, and what never is UTF-8.
var texts = []string{"", "a", "grüß", "€", "\xe2", "\x82\xac", "\xf0\x9f", "\x98\x80", "😀", "\xff", "\xed\xa0\x80"}

// sequence makes frames that are mostly valid, as gobwas/ws writes them.
func sequence(rng *rand.Rand) []byte {
	var out bytes.Buffer
	fragmented := false
	for range 1 + rng.IntN(6) {
		op := ws.OpCode(1 + rng.IntN(2))
		if fragmented {
			op = ws.OpContinuation
		}
		fin := rng.IntN(3) > 0
		var payload []byte
		for range rng.IntN(4) {
			payload = append(payload, texts[rng.IntN(9)]...)
		}
		switch rng.IntN(12) {
		case 0, 1:
			op, fin = ws.OpPing+ws.OpCode(rng.IntN(2)), true
		case 2:
			op, fin = ws.OpClose, true
			payload = append([]byte{byte(rng.IntN(24)), byte(rng.IntN(256))}, payload...)
			if rng.IntN(3) > 0 {
				payload = append([]byte{3, byte(0xe8 + rng.IntN(18))}, payload[2:]...)
			}
			payload = payload[:len(payload)*rng.IntN(5)/4]
		case 3:
			op = ws.OpCode(rng.IntN(16))
		case 4:
			payload = bytes.Repeat([]byte("x"), rng.IntN(800))
		case 5:
			payload = append(payload, texts[rng.IntN(len(texts))]...)
		}
		frame := ws.NewFrame(op, fin, payload)
		if rng.IntN(40) == 0 {
			frame.Header.Rsv = byte(rng.IntN(8))
		}
		if rng.IntN(2) == 0 {
			frame = ws.MaskFrameWith(frame, [4]byte{byte(rng.Int()), byte(rng.Int()), byte(rng.Int()), byte(rng.Int())})
		}
		if !op.IsControl() {
			fragmented = !fin
		}
		_ = ws.WriteFrame(&out, frame)
	}
	in := out.Bytes()
	if rng.IntN(8) == 0 {
		in = in[:rng.IntN(len(in)+1)]
	}
	if rng.IntN(8) == 0 && len(in) > 0 {
		in[rng.IntN(len(in))] ^= 1 << rng.IntN(8)
	}
	return in
}
