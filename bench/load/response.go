package load

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxLine bounds a line of a head, in bytes.
const maxLine = 64 << 10

var errMalformed = errors.New("malformed answer")

// part is what comes next of a response.
type part int

const (
	statusLine part = iota
	header
	content   // of a length that is known
	chunkLine // length of a chunk
	chunk     // its content
	chunkEnd  // the line break after it
	trailer   // after the last chunk
	rest      // content until the connection is closed
	whole     // nothing
)

// undelimited is the length of a response that has none.
const undelimited = -1

// response reads one HTTP/1.1 response to a GET, RFC 9112, from pieces of any size, and keeps what a load wants to know. It
// copies nothing but lines that come in two pieces. Its zero value is ready.
type response struct {
	part    part
	line    []byte // as much of it as was in earlier pieces
	begun   bool   // something was read
	left    int64  // of content or chunk
	length  int64  // by Content-Length, or undelimited
	chunked bool

	status int
	old    bool   // HTTP/1.0
	keep   bool   // the connection can be used again
	worker []byte // value of the header Worker
}

// reset makes r ready for the next response. It keeps the memory.
func (r *response) reset() { *r = response{line: r.line[:0], worker: r.worker[:0]} }

// feed takes the next piece, and returns what of it is beyond the response, and whether the response is whole.
func (r *response) feed(piece []byte) (beyond []byte, done bool, err error) {
	r.begun = r.begun || len(piece) > 0
	for r.part != whole {
		var progress bool
		switch r.part {
		case content, chunk:
			piece, progress = r.skip(piece)
		case rest:
			return nil, false, nil
		default:
			if piece, progress, err = r.feedLine(piece); err != nil {
				return nil, false, err
			}
		}
		if !progress {
			return nil, false, nil
		}
	}
	return piece, true, nil
}

// end takes that the connection was closed. It returns nil when the response is whole by that.
func (r *response) end() error {
	if r.part != rest {
		return io.ErrUnexpectedEOF
	}
	r.part = whole
	return nil
}

func (r *response) skip(piece []byte) (left []byte, progress bool) {
	n := min(r.left, int64(len(piece)))
	if r.left -= n; r.left > 0 {
		return nil, false
	}
	if r.part = whole; r.chunked {
		r.part = chunkEnd
	}
	return piece[n:], true
}

func (r *response) feedLine(piece []byte) (left []byte, progress bool, err error) {
	end := bytes.IndexByte(piece, '\n')
	if size := len(r.line) + max(end, 0); size > maxLine || end < 0 && size+len(piece) > maxLine {
		return nil, false, errMalformed
	}
	if end < 0 {
		r.line = append(r.line, piece...)
		return nil, false, nil
	}
	line := piece[:end]
	if len(r.line) > 0 {
		line = append(r.line, line...)
		r.line = line[:0]
	}
	return piece[end+1:], true, r.take(bytes.TrimSuffix(line, []byte("\r")))
}

// take takes a line.
func (r *response) take(line []byte) error {
	switch r.part {
	case statusLine:
		return r.takeStatus(line)
	case header:
		if len(line) == 0 {
			return r.takeHead()
		}
		return r.takeHeader(line)
	case chunkLine:
		return r.takeChunkLine(line)
	case chunkEnd:
		if len(line) != 0 {
			return errMalformed
		}
		r.part = chunkLine
	case trailer:
		if len(line) == 0 {
			r.part = whole
		}
	case content, chunk, rest, whole: // have no lines
	}
	return nil
}

// takeStatus reads "HTTP/1.1 200 OK".
func (r *response) takeStatus(line []byte) error {
	const version = "HTTP/1."
	if len(line) < 12 || string(line[:len(version)]) != version || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return errMalformed
	}
	status, err := strconv.ParseUint(string(line[9:12]), 10, 16)
	if err != nil || status < 100 || status == 101 || (line[7] != '0' && line[7] != '1') {
		return errMalformed
	}
	r.status, r.old, r.length = int(status), line[7] == '0', undelimited
	r.keep = !r.old
	r.part = header
	return nil
}

func (r *response) takeHeader(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || line[0] == ' ' || line[0] == '\t' || line[colon-1] == ' ' {
		return errMalformed
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	switch {
	case is(name, "Content-Length"):
		return r.takeLength(value)
	case is(name, "Transfer-Encoding"):
		if r.old { // RFC 9112, 6.1: its framing is faulty
			return errMalformed
		}
		r.chunked = hasToken(value, "chunked")
	case is(name, "Connection"):
		r.keep = !hasToken(value, "close") && (r.keep || hasToken(value, "keep-alive"))
	case is(name, "Worker"):
		r.worker = append(r.worker[:0], value...)
	}
	return nil
}

// is compares the lengths first: most headers are none of ours.
func is(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

func (r *response) takeLength(value []byte) error {
	length, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil || r.length != undelimited && r.length != int64(length) {
		return errMalformed
	}
	r.length = int64(length)
	return nil
}

// takeHead takes the end of the head. RFC 9112, 6.3, tells what comes after it.
func (r *response) takeHead() error {
	switch {
	case r.status < 200: // and then comes another one
		r.part, r.chunked, r.worker = statusLine, false, r.worker[:0]
	case r.status == 204 || r.status == 304:
		r.part = whole
	case r.chunked:
		r.part = chunkLine
	case r.length == undelimited:
		r.part, r.keep = rest, false
	case r.length == 0:
		r.part = whole
	default:
		r.part, r.left = content, r.length
	}
	return nil
}

// takeChunkLine reads "1a" or "1a; extension".
func (r *response) takeChunkLine(line []byte) error {
	if extension := bytes.IndexByte(line, ';'); extension >= 0 {
		line = line[:extension]
	}
	size, err := strconv.ParseUint(string(bytes.TrimRight(line, " \t")), 16, 63)
	if err != nil {
		return errMalformed
	}
	if r.part, r.left = chunk, int64(size); size == 0 {
		r.part = trailer
	}
	return nil
}

func hasToken(value []byte, token string) bool {
	return httpguts.HeaderValuesContainsToken([]string{string(value)}, token)
}
