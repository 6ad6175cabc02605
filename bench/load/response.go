package load

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHead bounds a head, in bytes.
const maxHead = 64 << 10

var errMalformed = errors.New("malformed answer")

// part is what comes next of a response.
type part int

const (
	head    part = iota
	content      // of a length that is known
	chunks
	rest // content until the connection is closed
	whole
)

// undelimited is the length of a response that has none.
const undelimited = -1

// response reads one HTTP/1.1 response to a GET, RFC 9112, from pieces of any size, and keeps what a load wants to know. A head
// in one piece, with content of a length that is known, is not copied; all else is read from its beginning with each piece.
// Its zero value is ready.
type response struct {
	part    part
	pending []byte // of a head or of chunks, from earlier pieces
	begun   bool   // something was read
	left    int64  // of content
	length  int64  // by Content-Length, or undelimited
	chunked bool

	status int
	old    bool   // HTTP/1.0
	keep   bool   // the connection can be used again
	worker []byte // value of the header Worker
}

// reset makes r ready for the next response. It keeps the memory.
func (r *response) reset() { *r = response{pending: r.pending[:0], worker: r.worker[:0]} }

// feed takes the next piece, and returns what of it is beyond the response, and whether the response is whole.
func (r *response) feed(piece []byte) (beyond []byte, done bool, err error) {
	r.begun = r.begun || len(piece) > 0
	if len(r.pending) > 0 {
		piece = append(r.pending, piece...)
		r.pending = piece[:0]
	}
	for progress := true; progress && err == nil; {
		switch r.part {
		case head:
			piece, progress, err = r.takeHead(piece)
		case content:
			n := min(r.left, int64(len(piece)))
			if piece, r.left = piece[n:], r.left-n; r.left > 0 {
				return nil, false, nil
			}
			r.part = whole
		case chunks:
			piece, progress, err = r.takeChunks(piece)
		case rest:
			return nil, false, nil
		case whole:
			return piece, true, nil
		}
	}
	r.pending = append(r.pending[:0], piece...)
	return nil, false, err
}

// end takes that the connection was closed. It returns nil when the response is whole by that.
func (r *response) end() error {
	if r.part != rest {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// takeHead reads a head. It makes no progress when there is more to come.
func (r *response) takeHead(piece []byte) (left []byte, progress bool, err error) {
	left = piece
	for first := true; ; first = false {
		line, after, found := bytes.Cut(left, []byte("\n"))
		switch {
		case len(piece)-len(left) > maxHead, !found && len(piece) > maxHead:
			return piece, false, errMalformed
		case !found:
			return piece, false, nil
		}
		left, line = after, bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case first:
			err = r.takeStatus(line)
		case len(line) == 0:
			r.endHead()
			return left, true, nil
		default:
			err = r.takeHeader(line)
		}
		if err != nil {
			return piece, false, err
		}
	}
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
	r.status, r.old = int(status), line[7] == '0'
	r.keep, r.length, r.chunked, r.worker = !r.old, undelimited, false, r.worker[:0]
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
		length, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || r.length != undelimited && r.length != int64(length) {
			return errMalformed
		}
		r.length = int64(length)
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

func hasToken(value []byte, token string) bool {
	return httpguts.HeaderValuesContainsToken([]string{string(value)}, token)
}

// endHead tells what comes after a head, RFC 9112, 6.3.
func (r *response) endHead() {
	switch {
	case r.status < 200: // and then comes another one
	case r.status == 204 || r.status == 304:
		r.part = whole
	case r.chunked:
		r.part = chunks
	case r.length == undelimited:
		r.part, r.keep = rest, false
	default:
		r.part, r.left = content, r.length
	}
}

// takeChunks reads all chunks, and the trailer. It makes no progress when there is more to come.
func (r *response) takeChunks(piece []byte) (left []byte, progress bool, err error) {
	in := bufio.NewReaderSize(bytes.NewReader(piece), len(piece))
	_, err = io.Copy(io.Discard, httputil.NewChunkedReader(in))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return piece, false, nil
	} else if err != nil {
		return piece, false, errMalformed
	}
	for left = piece[len(piece)-in.Buffered():]; ; {
		line, after, found := bytes.Cut(left, []byte("\n"))
		if !found {
			return piece, false, nil
		}
		if left = after; len(bytes.TrimSuffix(line, []byte("\r"))) == 0 {
			r.part = whole
			return left, true, nil
		}
	}
}
