package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answers are whole, with what is beyond them.
var answers = []struct {
	text, beyond, worker string
	status               int
	keep                 bool
}{
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nWorker: 17\r\n\r\nhello", "", "17", 200, true},
	{"HTTP/1.1 200 OK\r\ncontent-length:5\r\nworker:  a b \t\r\n\r\nhelloHTTP", "HTTP", "a b", 200, true},
	{"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", "", 200, true},
	{"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "", "", 200, true},
	{"HTTP/1.1 503 No\r\nConnection: Close\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "", "", 503, false},
	{"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "", "", 200, false},
	{"HTTP/1.0 200 OK\r\nConnection: x, Keep-Alive\r\nContent-Length: 1\r\n\r\nx", "", "", 200, true},
	{"HTTP/1.1 204 No Content\r\nWorker: b\r\n\r\n", "", "b", 204, true},
	{"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", "", "", 304, true},
	{"HTTP/1.1 103 Early Hints\r\nWorker: a\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "", "", 200, true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n!", "!", "", 200, true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\n\n\r\n00\r\nWorker: late\r\n\r\n", "", "", 200, true},
}

// read feeds a text in pieces of a size, and then the end of the connection.
func read(text []byte, size int) (r response, beyond []byte, err error) {
	for len(text) > 0 {
		n := min(size, len(text))
		piece := bytes.Clone(text[:n]) // feed must not keep it
		left, done, err := r.feed(piece)
		if err != nil || done {
			return r, append(bytes.Clone(left), text[n:]...), err
		}
		clear(piece)
		text = text[n:]
	}
	return r, nil, r.end()
}

func TestResponse(t *testing.T) {
	for _, a := range answers {
		for _, size := range []int{1, 2, 3, 7, len(a.text)} {
			r, beyond, err := read([]byte(a.text), size)
			require.NoError(t, err, "%q in pieces of %d", a.text, size)
			assert.Equal(t, a.beyond, string(beyond))
			assert.Equal(t, a.worker, string(r.worker))
			assert.Equal(t, a.status, r.status)
			assert.Equal(t, a.keep, r.keep)
		}
	}
}

func TestResponseReset(t *testing.T) {
	var r response
	for _, a := range answers {
		_, done, err := r.feed([]byte(a.text))
		require.NoError(t, err)
		assert.True(t, done)
		assert.Equal(t, a.worker, string(r.worker))
		r.reset()
	}
}

func TestResponseUntilClose(t *testing.T) {
	for _, head := range []string{"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"} {
		r, _, err := read([]byte(head+"some\ntext"), 4)
		require.NoError(t, err)
		assert.False(t, r.keep)
	}
}

func TestResponseCutOff(t *testing.T) {
	for _, a := range answers {
		for end := range len(a.text) - len(a.beyond) {
			_, _, err := read([]byte(a.text[:end]), 5)
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "%q", a.text[:end])
		}
	}
}

func TestResponseMalformed(t *testing.T) {
	for _, text := range []string{
		"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 +20 OK\r\n", "HTTP/1.1 2000 OK\r\n",
		"HTTP/1.1 099 OK\r\n", "HTTP/1.1 101 Switching Protocols\r\n", "\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n",
		"HTTP/1.1 200 OK\r\n: x\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
		"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", maxHead) + "\r\n", strings.Repeat("x", maxHead+1),
	} {
		for _, size := range []int{1, 1000, len(text)} {
			_, _, err := read([]byte(text), size)
			assert.ErrorIs(t, err, errMalformed, "%.60q", text)
		}
	}
}

// FuzzResponse reads the same in pieces of any size, and what net/http reads too it must read alike.
func FuzzResponse(f *testing.F) {
	for i, a := range answers {
		f.Add([]byte(a.text), uint8(i))
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\nuntil the end"), uint8(4))
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		r, beyond, err := read(text, max(len(text), 1))
		pieces, beyondPieces, errPieces := read(text, int(size)+1)
		require.Equal(t, err == nil, errPieces == nil, "%v, in pieces %v", err, errPieces)
		if err != nil {
			return
		}
		assert.Equal(t, string(beyond), string(beyondPieces))
		assert.Equal(t, r.status, pieces.status)
		assert.Equal(t, r.keep, pieces.keep)
		assert.Equal(t, string(r.worker), string(pieces.worker))
		compare(t, text, r, beyond)
	})
}

// compare reads with net/http, which refuses more, so only what it takes is compared.
func compare(t *testing.T, text []byte, r response, beyond []byte) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(text))
	theirs, err := http.ReadResponse(in, nil)
	for err == nil && theirs.StatusCode/100 == 1 {
		theirs, err = http.ReadResponse(in, nil)
	}
	if err != nil || r.length != undelimited && r.chunked {
		return
	}
	defer theirs.Body.Close()
	if _, err := io.Copy(io.Discard, theirs.Body); err != nil {
		return
	}
	assert.Equal(t, theirs.StatusCode, r.status)
	left, err := io.ReadAll(in)
	require.NoError(t, err)
	assert.Equal(t, string(left), string(beyond))
}
