package framing_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/framing"
)

const (
	fin  = 0x80
	cont = framing.Type(0)
)

// rawFrame builds a frame as given, valid or not, with its length in the shortest form.
func rawFrame(first byte, payload string) []byte {
	whole := framing.AppendFrame(nil, framing.Binary, []byte(payload))
	whole[0] = first
	return whole
}

// fragment builds a frame that is not the last of its message.
func fragment(t framing.Type, payload string) []byte { return rawFrame(byte(t), payload) }

// last builds a frame that is the last of its message.
func last(t framing.Type, payload string) []byte { return rawFrame(fin|byte(t), payload) }

// masked masks the unmasked frame.
func masked(whole []byte) []byte {
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	head := 2
	switch whole[1] {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	out := append(bytes.Clone(whole[:head]), key...)
	out[1] |= 0x80
	for i, b := range whole[head:] {
		out = append(out, b^key[i&3])
	}
	return out
}

func closePayload(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// decode feeds the decoder with parts of the given size, and returns all that it gives before it wants more than there
// is, or fails.
func decode(d *framing.Decoder, in []byte, part int) (got []framing.Message, err error) {
	for {
		m, ok, err := d.Next()
		if err != nil {
			return got, err
		}
		if ok {
			got = append(got, framing.Message{Type: m.Type, Data: append([]byte{}, m.Data...)})
			continue
		}
		if len(in) == 0 {
			return got, nil
		}
		n := copy(d.Buffer(), in[:min(part, len(in))])
		d.Advance(n)
		in = in[n:]
	}
}

func message(t framing.Type, data string) framing.Message {
	return framing.Message{Type: t, Data: []byte(data)}
}

var decoderValid = []struct {
	name string
	in   [][]byte
	want []framing.Message
	end  error
}{
	// RFC 6455, section 5.7.
	{
		name: "unmasked text", in: [][]byte{{0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}},
		want: []framing.Message{message(framing.Text, "Hello")},
	},
	{
		name: "masked text", in: [][]byte{{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}},
		want: []framing.Message{message(framing.Text, "Hello")},
	},
	{
		name: "fragmented text", in: [][]byte{{0x01, 0x03, 0x48, 0x65, 0x6c}, {0x80, 0x02, 0x6c, 0x6f}},
		want: []framing.Message{message(framing.Text, "Hello")},
	},
	{
		name: "ping and masked pong",
		in: [][]byte{
			{0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f},
			{0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58},
		},
		want: []framing.Message{message(framing.Ping, "Hello"), message(framing.Pong, "Hello")},
	},
	{
		name: "256 bytes", in: [][]byte{{0x82, 0x7e, 0x01, 0x00}, make([]byte, 256)},
		want: []framing.Message{message(framing.Binary, strings.Repeat("\x00", 256))},
	},
	{
		name: "64 KiB", in: [][]byte{{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, make([]byte, 65536)},
		want: []framing.Message{message(framing.Binary, strings.Repeat("\x00", 65536))},
	},

	{name: "empty messages", in: [][]byte{last(framing.Text, ""), last(framing.Binary, "")}, want: []framing.Message{
		message(framing.Text, ""), message(framing.Binary, ""),
	}},
	{name: "empty fragments", in: [][]byte{
		fragment(framing.Text, ""), fragment(cont, ""), fragment(cont, "a"), last(cont, ""), last(framing.Binary, "b"),
	}, want: []framing.Message{message(framing.Text, "a"), message(framing.Binary, "b")}},
	{name: "control frames between fragments", in: [][]byte{
		fragment(framing.Binary, "a"), last(framing.Ping, "1"), masked(fragment(cont, "b")), last(framing.Pong, ""),
		last(cont, "c"),
	}, want: []framing.Message{message(framing.Ping, "1"), message(framing.Pong, ""), message(framing.Binary, "abc")}},
	{name: "masked fragments with different lengths", in: [][]byte{
		masked(fragment(framing.Text, "abcdefghijk")), masked(fragment(cont, "lm")), masked(last(cont, "nopqrstuvwxyz")),
	}, want: []framing.Message{message(framing.Text, "abcdefghijklmnopqrstuvwxyz")}},
	{name: "character over fragments", in: [][]byte{
		fragment(framing.Text, "\xf0"), fragment(cont, "\x9f\x98"), last(framing.Ping, "\xff"), last(cont, "\x80!"),
	}, want: []framing.Message{message(framing.Ping, "\xff"), message(framing.Text, "\U0001f600!")}},
	{name: "binary is not looked at", in: [][]byte{fragment(framing.Binary, "\xff"), last(cont, "\xc3")}, want: []framing.Message{
		message(framing.Binary, "\xff\xc3"),
	}},
	{name: "longest control frame", in: [][]byte{last(framing.Ping, strings.Repeat("x", 125))}, want: []framing.Message{
		message(framing.Ping, strings.Repeat("x", 125)),
	}},
	{name: "large masked text", in: [][]byte{masked(last(framing.Text, strings.Repeat("größer ", 20000)))}, want: []framing.Message{
		message(framing.Text, strings.Repeat("größer ", 20000)),
	}},
	{name: "close without a code", in: [][]byte{last(framing.Close, "")}, want: []framing.Message{
		message(framing.Close, ""),
	}, end: io.EOF},
	{name: "nothing counts after a close", in: [][]byte{last(framing.Close, closePayload(1000, "bye")), {0xff, 0xff, 0xff}}, want: []framing.Message{
		message(framing.Close, closePayload(1000, "bye")),
	}, end: io.EOF},
	{name: "close within a fragmented message", in: [][]byte{fragment(framing.Text, "a"), last(framing.Close, closePayload(4999, ""))}, want: []framing.Message{
		message(framing.Close, closePayload(4999, "")),
	}, end: io.EOF},
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	for _, tt := range decoderValid {
		in := bytes.Join(tt.in, nil)
		for _, part := range []int{1, 2, 3, 5, 7, 64, 4096, 1 << 20} {
			t.Run(fmt.Sprintf("%s in parts of %d", tt.name, part), func(t *testing.T) {
				t.Parallel()
				d := framing.NewDecoder(0)
				got, err := decode(d, in, part)
				assert.Equal(t, tt.end, err)
				assert.Equal(t, tt.want, got)
				_, err = decode(d, in, part)
				assert.Equal(t, tt.end, err)
			})
		}
	}
}

var decoderInvalid = []struct {
	name string
	in   [][]byte
	code framing.Code
}{
	{"reserved bit 1", [][]byte{last(framing.Text, "a"), rawFrame(0xc1, "")}, 1002},
	{"reserved bit 2", [][]byte{rawFrame(0xa1, "")}, 1002},
	{"reserved bit 3", [][]byte{rawFrame(0x92, "")}, 1002},
	{"reserved bit in a control frame", [][]byte{rawFrame(0xc9, "")}, 1002},
	{"opcode 3", [][]byte{rawFrame(0x83, "")}, 1002},
	{"opcode 7", [][]byte{rawFrame(0x87, "")}, 1002},
	{"opcode 11", [][]byte{rawFrame(0x8b, "")}, 1002},
	{"opcode 15", [][]byte{rawFrame(0x8f, "")}, 1002},
	{"fragmented ping", [][]byte{fragment(framing.Ping, "")}, 1002},
	{"fragmented close", [][]byte{fragment(framing.Close, "")}, 1002},
	{"ping of 126 bytes", [][]byte{last(framing.Ping, strings.Repeat("x", 126))}, 1002},
	{"pong of 64 KiB", [][]byte{last(framing.Pong, strings.Repeat("x", 1<<16))}, 1002},
	{"125 in 16 bits", [][]byte{{0x82, 126, 0, 125}, make([]byte, 125)}, 1002},
	{"0 in 16 bits", [][]byte{{0x82, 126, 0, 0}}, 1002},
	{"125 in 64 bits", [][]byte{{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 125}, make([]byte, 125)}, 1002},
	{"65535 in 64 bits", [][]byte{{0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}}, 1002},
	{"64 bits of length", [][]byte{{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}}, 1002},
	{"continuation first", [][]byte{last(cont, "a")}, 1002},
	{"continuation after the last fragment", [][]byte{fragment(framing.Text, "a"), last(cont, "b"), last(cont, "c")}, 1002},
	{"continuation after a ping", [][]byte{last(framing.Ping, "a"), fragment(cont, "c")}, 1002},
	{"text within a text", [][]byte{fragment(framing.Text, "a"), last(framing.Text, "b")}, 1002},
	{"binary within an empty text", [][]byte{fragment(framing.Text, ""), fragment(framing.Binary, "b")}, 1002},
	{"half a close code", [][]byte{last(framing.Close, "\x03")}, 1002},
	{"close code 0", [][]byte{last(framing.Close, closePayload(0, ""))}, 1002},
	{"close code 999", [][]byte{last(framing.Close, closePayload(999, ""))}, 1002},
	{"close code 1004", [][]byte{last(framing.Close, closePayload(1004, ""))}, 1002},
	{"close code 1005", [][]byte{last(framing.Close, closePayload(1005, ""))}, 1002},
	{"close code 1006", [][]byte{last(framing.Close, closePayload(1006, ""))}, 1002},
	{"close code 1015", [][]byte{last(framing.Close, closePayload(1015, ""))}, 1002},
	{"close code 1016", [][]byte{last(framing.Close, closePayload(1016, ""))}, 1002},
	{"close code 2999", [][]byte{last(framing.Close, closePayload(2999, ""))}, 1002},
	{"close code 5000", [][]byte{last(framing.Close, closePayload(5000, ""))}, 1002},
	{"close reason not UTF-8", [][]byte{last(framing.Close, closePayload(1000, "\xff"))}, 1007},
	{"text not UTF-8", [][]byte{last(framing.Text, "a\xffb")}, 1007},
	{"surrogate", [][]byte{last(framing.Text, "\xed\xa0\x80")}, 1007},
	{"overlong", [][]byte{last(framing.Text, "\xc0\xaf")}, 1007},
	{"above U+10FFFF", [][]byte{masked(last(framing.Text, "\xf4\x90\x80\x80"))}, 1007},
	{"text ends within a character", [][]byte{last(framing.Text, "a\xe2\x82")}, 1007},
	{"fragments end within a character", [][]byte{fragment(framing.Text, "\xe2"), last(cont, "\x82")}, 1007},
	{"character broken by a fragment", [][]byte{fragment(framing.Text, "\xe2\x82"), fragment(cont, "a"), last(cont, "")}, 1007},
	{"too big", [][]byte{last(framing.Binary, strings.Repeat("x", 200_001))}, 1009},
	{"too big together", [][]byte{
		fragment(framing.Binary, strings.Repeat("x", 100_000)), fragment(cont, strings.Repeat("x", 100_000)), last(cont, "x"),
	}, 1009},
	{"claims 2^62 bytes", [][]byte{{0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0}}, 1009},
	{"claims 2^63-1 bytes more", [][]byte{fragment(framing.Text, "a"), {0x80, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, 1009},
}

func TestDecoderInvalid(t *testing.T) {
	t.Parallel()
	for _, tt := range decoderInvalid {
		for _, part := range []int{1, 3, 1 << 20} {
			t.Run(fmt.Sprintf("%s in parts of %d", tt.name, part), func(t *testing.T) {
				t.Parallel()
				d := framing.NewDecoder(200_000)
				_, err := decode(d, bytes.Join(tt.in, nil), part)
				violation, ok := errors.AsType[*framing.ProtocolError](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, tt.code, violation.Code)
				assert.Equal(t, tt.code == framing.CodeTooBig, errors.Is(err, framing.ErrTooBig))
				_, again := decode(d, []byte{0x82, 0}, 2)
				assert.Equal(t, err, again)
			})
		}
	}
}

// RFC 6455, section 8.1: a text is refused as soon as it cannot become valid any more.
func TestDecoderRefusesTextEarly(t *testing.T) {
	t.Parallel()
	valid := strings.Repeat("κόσμε", 1000)
	for _, bad := range []string{"\xff", "\x80", "\xc0", "\xed\xa0", "\xf4\x90", "\xe2\x82a", "\xf0\x9f\x98\xc3"} {
		in := append([]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, valid+bad...)
		d := framing.NewDecoder(0)
		_, err := decode(d, in[:len(in)-1], 100)
		require.NoError(t, err, "%q", bad)
		_, err = decode(d, in[len(in)-1:], 1)
		require.Error(t, err, "%q", bad)
	}
}

func TestDecoderTextAtEverySplit(t *testing.T) {
	t.Parallel()
	text := "a\u00e9\u20ac\U0001f600\u07ff\uffff\U0010ffffz"
	for i := range len(text) + 1 {
		for j := i; j <= len(text); j++ {
			in := bytes.Join([][]byte{
				fragment(framing.Text, text[:i]), masked(fragment(cont, text[i:j])), last(cont, text[j:]),
			}, nil)
			got, err := decode(framing.NewDecoder(0), in, len(in))
			require.NoError(t, err)
			require.Equal(t, []framing.Message{message(framing.Text, text)}, got)
		}
	}
}

func TestDecoderTakesMemoryForWhatArrives(t *testing.T) {
	t.Parallel()
	d := framing.NewDecoder(1 << 30)
	_, err := decode(d, []byte{0x82, 127, 0, 0, 0, 0, 0x40, 0, 0, 0}, 10)
	require.NoError(t, err)
	arrived := 0
	for range 10 {
		n := len(d.Buffer())
		assert.LessOrEqual(t, n, max(4096, 2*arrived))
		d.Advance(n)
		arrived += n
		_, ok, err := d.Next()
		require.NoError(t, err)
		require.False(t, ok)
	}
	assert.Greater(t, arrived, 1<<18, "a large payload takes few reads")
}

func TestDecoderAllocatesNothing(t *testing.T) {
	in := bytes.Repeat(masked(last(framing.Text, "0123456789")), 1000)
	in = append(in, fragment(framing.Binary, "0123")...)
	in = append(in, last(cont, "456789")...)
	d := framing.NewDecoder(0)
	feed := func() {
		rest := in
		for len(rest) > 0 {
			n := copy(d.Buffer(), rest)
			d.Advance(n)
			rest = rest[n:]
			for {
				if _, ok, err := d.Next(); err != nil || !ok {
					break
				}
			}
		}
	}
	feed()
	assert.Zero(t, testing.AllocsPerRun(100, feed))
}

func TestAppendFrame(t *testing.T) {
	t.Parallel()
	for size, head := range map[int][]byte{
		0: {0x82, 0}, 1: {0x82, 1}, 125: {0x82, 125}, 126: {0x82, 126, 0, 126}, 65535: {0x82, 126, 0xff, 0xff},
		65536: {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		data := bytes.Repeat([]byte("x"), size)
		assert.Equal(t, append(head, data...), framing.AppendFrame(nil, framing.Binary, data))
	}
	assert.Equal(t, []byte("abc\x8a\x01d"), framing.AppendFrame([]byte("abc"), framing.Pong, []byte("d")))
}

// RFC 6455, section 1.3.
func TestAcceptKey(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", framing.AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="))
}

func TestTypeString(t *testing.T) {
	t.Parallel()
	for want, typ := range map[string]framing.Type{
		"continuation": cont, "text": framing.Text, "binary": framing.Binary, "close": framing.Close,
		"ping": framing.Ping, "pong": framing.Pong, "opcode 0x3": 3,
	} {
		assert.Equal(t, want, typ.String())
	}
}
