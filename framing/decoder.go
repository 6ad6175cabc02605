package framing

import (
	"io"
	"slices"
	"unicode/utf8"
)

// The buffer for what arrives doubles each time that a read fills it.
const (
	minBuffer = 4 << 10
	maxBuffer = 64 << 10
)

// maxSpare is the largest buffer, in bytes, that is kept for the next message.
const maxSpare = 2 << 20

// Decoder turns bytes into messages: it reads nothing by itself, and does not wait. The bytes may come in parts of any
// size.
//
//	for {
//		m, ok, err := d.Next()
//		if err != nil {
//			return err
//		}
//		if ok {
//			handle(m)
//			continue
//		}
//		n, err := stream.Read(d.Buffer())
//		d.Advance(n)
//		...
//	}
//
// Fragments are joined, and masks taken off; a mask is neither demanded nor refused. A message is checked against the
// limit as soon as a header tells its length. Memory is taken for what has arrived, not for what a header claims. The
// methods may not be called at the same time.
type Decoder struct {
	max int // bytes in a message

	buf    []byte // buf[r:w] has arrived and is not yet used
	r, w   int
	direct bool // Buffer returned a part of msg, not of buf

	head    header // of the frame whose payload is due
	inFrame bool
	left    int // bytes of the payload yet to come
	pos     int // bytes of the payload that have arrived, for the mask

	typ       Type   // of the message in hand, 0 when there is none
	msg       []byte // as far as it has arrived
	text      utf8Check
	delivered bool // msg has been returned and can be used again

	err error
}

// NewDecoder returns a decoder for messages of up to maxMessage bytes, 16 MiB if it is 0.
func NewDecoder(maxMessage int) *Decoder {
	return &Decoder{max: Options{MaxMessage: maxMessage}.withDefaults().MaxMessage, buf: make([]byte, minBuffer)}
}

// Next returns the next message, or a control frame, which may stand between the fragments of a message. It returns
// false when more bytes are needed. The data are the decoder's and good until the next call of a method.
//
// A *ProtocolError says that the bytes are not valid frames; after a Close, which nothing may follow, it is io.EOF.
// Either comes again with each further call.
func (d *Decoder) Next() (m Message, ok bool, err error) {
	if d.delivered {
		d.recycle()
	}
	if m, ok = d.small(); ok {
		return m, true, nil
	}
	for !ok && d.err == nil && (d.inFrame || d.begin()) {
		switch whole := d.w-d.r >= d.left; {
		case whole && (d.head.typ.isControl() || d.isUnfragmented()):
			m, ok = d.inPlace()
		case d.head.typ.isControl():
			return Message{}, false, nil
		default:
			if m, ok = d.collect(); d.inFrame {
				return Message{}, false, d.err
			}
		}
	}
	if ok {
		return m, true, nil
	}
	return Message{}, false, d.err
}

// small returns the next frame if it is what most are: a Binary of less than 126 bytes, whole and without a mask.
func (d *Decoder) small() (Message, bool) {
	b := d.buf[d.r:d.w]
	if len(b) < 2 || b[0] != finBit|byte(Binary) || d.inFrame || d.typ != 0 || d.err != nil {
		return Message{}, false
	}
	end := 2 + int(b[1])
	if b[1] >= length16 || end > len(b) || end-2 > d.max {
		return Message{}, false
	}
	d.r += end
	return Message{Type: Binary, Data: b[2:end:end]}, true
}

// Buffer returns where to put the bytes that come next. It is to be called when Next has returned false, and is not
// empty then.
func (d *Decoder) Buffer() []byte {
	if d.direct = d.inFrame && !d.head.typ.isControl() && d.left > len(d.buf); d.direct {
		// The rest of a large payload needs no copy. The buffer is at most twice what has arrived.
		d.msg = slices.Grow(d.msg, min(d.left, max(len(d.msg), len(d.buf))))
		return d.msg[len(d.msg):min(cap(d.msg), len(d.msg)+d.left)]
	}
	// At most a header and a control frame are in the buffer: Next has used everything else.
	old := d.buf[d.r:d.w]
	if d.w == len(d.buf) && len(d.buf) < maxBuffer {
		d.buf = make([]byte, 2*len(d.buf))
	}
	d.r, d.w = 0, copy(d.buf, old)
	return d.buf[d.w:]
}

// Advance says that n bytes have been put into the Buffer.
func (d *Decoder) Advance(n int) {
	if !d.direct {
		d.w += n
		return
	}
	d.direct = false
	d.msg = d.msg[:len(d.msg)+n]
	d.arrived(n)
}

// detach leaves the memory of what Next has returned to its holders, and continues in new memory.
func (d *Decoder) detach() {
	buf := make([]byte, len(d.buf))
	d.r, d.w, d.buf = 0, copy(buf, d.buf[d.r:d.w]), buf
	if d.delivered {
		d.msg, d.delivered = nil, false
	}
}

// failed returns, after a ProtocolError, the type of the frame that broke the protocol, and what has arrived and is not
// used.
func (d *Decoder) failed() (Type, []byte) { return d.head.typ, d.buf[d.r:d.w] }

// begin starts a frame if its header is there.
func (d *Decoder) begin() bool {
	h, n, err := parseHeader(d.buf[d.r:d.w])
	if err == nil && n > 0 {
		err = d.admit(h)
	}
	if d.err = err; err != nil || n == 0 {
		if err != nil {
			d.head.typ = Type(d.buf[d.r] & opcodeBits)
		}
		return false
	}
	d.r += n
	d.head, d.inFrame, d.left, d.pos = h, true, int(h.length), 0 //nolint:gosec // G115: admit has checked it
	return true
}

// admit checks that the frame may stand here (section 5.4), and the size of its message.
func (d *Decoder) admit(h header) error {
	switch {
	case h.typ.isControl():
		return nil
	case h.typ == continuation && d.typ == 0:
		return violation("continuation of no message")
	case h.typ != continuation && d.typ != 0:
		return violation("message within a fragmented message")
	case h.length > uint64(d.max-len(d.msg)): //nolint:gosec // G115: msg never gets larger than max
		return &ProtocolError{Code: CodeTooBig, Err: ErrTooBig}
	case h.typ != continuation:
		d.typ = h.typ
	}
	return nil
}

// isUnfragmented reports whether the frame is a message of its own, of which nothing has been collected.
func (d *Decoder) isUnfragmented() bool {
	return d.head.fin && d.head.typ != continuation && len(d.msg) == 0
}

// inPlace returns a frame that is whole in the buffer.
func (d *Decoder) inPlace() (Message, bool) {
	end := d.r + d.left
	m := Message{Type: d.head.typ, Data: d.buf[d.r:end:end]}
	d.r, d.inFrame = end, false
	if d.head.masked {
		unmask(m.Data, d.head.key, 0)
	}
	switch m.Type {
	case Text:
		d.typ = 0
		if !utf8.Valid(m.Data) {
			d.err = &ProtocolError{Code: CodeInvalidData, Err: errInvalidUTF8}
		}
	case Close:
		if _, d.err = parseClose(m.Data); d.err == nil {
			d.err = io.EOF
			return m, true
		}
	case Binary:
		d.typ = 0
	default:
	}
	return m, d.err == nil
}

// collect moves what has arrived of the payload into msg, and returns the message at its end.
func (d *Decoder) collect() (Message, bool) {
	n := min(d.left, d.w-d.r)
	d.msg = append(d.msg, d.buf[d.r:d.r+n]...)
	d.r += n
	d.arrived(n)
	if d.left > 0 || d.err != nil {
		return Message{}, false
	}
	d.inFrame = false
	if !d.head.fin {
		return Message{}, false
	}
	if !d.text.end() {
		d.err = &ProtocolError{Code: CodeInvalidData, Err: errInvalidUTF8}
		return Message{}, false
	}
	m := Message{Type: d.typ, Data: slices.Clip(d.msg)}
	d.typ, d.delivered = 0, true
	return m, true
}

// arrived makes the last n bytes of msg a part of the message.
func (d *Decoder) arrived(n int) {
	part := d.msg[len(d.msg)-n:]
	if d.head.masked {
		unmask(part, d.head.key, d.pos)
	}
	d.left -= n
	d.pos += n
	if d.typ == Text && !d.text.write(part) {
		d.err = &ProtocolError{Code: CodeInvalidData, Err: errInvalidUTF8}
	}
}

// recycle makes msg free for the next message, and gives memory back that a rare large one took.
func (d *Decoder) recycle() {
	d.delivered = false
	if d.msg = d.msg[:0]; cap(d.msg) > maxSpare {
		d.msg = nil
	}
}
