package framing

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Type says what a message or a control frame is. Its value is the opcode of RFC 6455, section 5.2.
type Type uint8

// The types of messages, and of the control frames that the Decoder returns between them.
const (
	Text   Type = 0x1 // valid UTF-8; between nodes, a JSON value
	Binary Type = 0x2 // any bytes
	Close  Type = 0x8 // empty, or a close code in two bytes and a reason
	Ping   Type = 0x9 // up to 125 bytes
	Pong   Type = 0xA // the bytes of the Ping that it answers

	continuation Type = 0x0 // a further fragment of a message
)

// String returns the type's name.
func (t Type) String() string {
	switch t {
	case continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return fmt.Sprintf("opcode %#x", uint8(t))
}

func (t Type) isControl() bool { return t&0x8 != 0 }

// maxControl is the longest payload of a control frame (section 5.5).
const maxControl = 125

// maxHeader is the longest header without a mask.
const maxHeader = 10

// The first two bytes of a frame (section 5.2).
const (
	finBit       = 0x80
	reservedBits = 0x70
	opcodeBits   = 0x0f
	maskBit      = 0x80
	lengthBits   = 0x7f
	length16     = 126 // two bytes of length follow
	length64     = 127 // eight bytes of length follow
)

// AppendFrame appends a message, or a control frame, as one frame without a mask, and returns the extended buffer. It
// checks nothing: the text of a Text must be UTF-8, and the data of a control frame at most 125 bytes.
func AppendFrame(dst []byte, t Type, data []byte) []byte {
	return append(appendHeader(dst, t, len(data)), data...)
}

func appendHeader(dst []byte, t Type, length int) []byte {
	dst = append(dst, finBit|byte(t))
	switch {
	case length < length16:
		return append(dst, byte(length)) //nolint:gosec // G115: less than 126
	case length <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, length16), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, length64), uint64(length))
}

// header is the header of a frame, before its payload.
type header struct {
	typ    Type
	fin    bool // the last fragment of its message
	masked bool
	key    [4]byte
	length uint64
}

// parseHeader reads the header that b begins with. n is its length, or 0 when b does not hold all of it; what is there
// has been checked then.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return header{}, 0, nil
	}
	h = header{
		typ:    Type(b[0] & opcodeBits),
		fin:    b[0]&finBit != 0,
		masked: b[1]&maskBit != 0,
		length: uint64(b[1] & lengthBits),
	}
	if err := h.check(b[0]&reservedBits != 0); err != nil {
		return header{}, 0, err
	}
	extended, n, err := parseLength(h.length, b[2:])
	if err != nil || n < 0 {
		return header{}, 0, err
	}
	h.length = extended
	n += 2
	if h.masked {
		if len(b) < n+len(h.key) {
			return header{}, 0, nil
		}
		n += copy(h.key[:], b[n:])
	}
	return h, n, nil
}

// check holds the first two bytes against sections 5.2 and 5.5.
func (h header) check(reserved bool) error {
	switch h.typ {
	case continuation, Text, Binary, Close, Ping, Pong:
	default:
		return violation("unknown opcode %#x", uint8(h.typ))
	}
	switch {
	case reserved:
		return violation("reserved bit set without an extension")
	case h.typ.isControl() && !h.fin:
		return violation("fragmented control frame")
	case h.typ.isControl() && h.length > maxControl:
		return violation("control frame of more than %d bytes", maxControl)
	}
	return nil
}

// parseLength returns the length that short stands for, and how many bytes of b it takes, -1 when b is too short. The
// shortest form must be used, and the highest bit is 0 (section 5.2).
func parseLength(short uint64, b []byte) (length uint64, n int, err error) {
	switch {
	case short < length16:
		return short, 0, nil
	case short == length16 && len(b) >= 2:
		length, n = uint64(binary.BigEndian.Uint16(b)), 2
		if length < length16 {
			return 0, 0, violation("length %d not in its shortest form", length)
		}
	case short == length64 && len(b) >= 8:
		length, n = binary.BigEndian.Uint64(b), 8
		if length <= math.MaxUint16 {
			return 0, 0, violation("length %d not in its shortest form", length)
		}
		if length > math.MaxInt64 {
			return 0, 0, violation("length of more than 63 bits")
		}
	default:
		return 0, -1, nil
	}
	return length, n, nil
}
