package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/multinode-go/multinode/peer/internal/localhttp"
)

const (
	// maxBody bounds the body of a request to a handler of Handle, which is read into memory before the handler runs.
	maxBody = 1 << 20
	// maxAnswers bounds the requests to such handlers that are being answered, since an answer may take for ever.
	maxAnswers = 256
)

// handlers answer the requests on this node's socket that are not for streams.
type handlers struct {
	*core
	mux     *http.ServeMux
	answers chan struct{} // one for each request to a handler of Handle that is being answered
}

func newHandlers(c *core) *handlers {
	return &handlers{core: c, mux: http.NewServeMux(), answers: make(chan struct{}, maxAnswers)}
}

// handle is Mesh.Handle.
func (h *handlers) handle(pattern string, handler http.Handler) (err error) {
	if handler == nil {
		return errors.New("no handler")
	}
	if err := checkPattern(pattern); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return net.ErrClosed
	}
	defer func() {
		if reason := recover(); reason != nil { // how the mux says that a pattern is wrong
			err = fmt.Errorf("%v", reason)
		}
	}()
	h.mux.Handle(pattern, h.answerLong(handler))
	return nil
}

// checkPattern returns an error when pattern could match a request that is for the mesh. The mux finds other mistakes.
func checkPattern(pattern string) error {
	place := pattern // without the method
	if i := strings.IndexAny(pattern, " \t"); i >= 0 {
		place = strings.TrimLeft(pattern[i:], " \t")
	}
	host, path, found := strings.Cut(place, "/")
	if !found {
		return errors.New("it has no path: begin with a slash, or with a method and a slash")
	}
	if host != "" {
		return fmt.Errorf("it names the host %q: the socket of a node has none, begin with a slash", host)
	}
	first, _, _ := strings.Cut(path, "/")
	if plain, err := url.PathUnescape(first); err == nil {
		first = plain // as the mux reads it
	}
	if first = "/" + first; first == streamsPath || first == guestsPath {
		return fmt.Errorf("%s belongs to the mesh: choose another path", first)
	}
	return nil
}

// answerLong lets a handler answer without a time-out: its request has been read, so the connection is no longer a
// handshake.
func (h *handlers) answerLong(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case h.answers <- struct{}{}:
			defer func() { <-h.answers }()
		default:
			http.Error(w, fmt.Sprintf("%d requests are being answered, and there is room for no more: try again", maxAnswers),
				http.StatusServiceUnavailable)
			return
		}
		long := &longAnswer{ResponseWriter: w, control: http.NewResponseController(w), timeout: 2 * h.opts.handshakeTimeout}
		body, err := h.readBody(w, r)
		if err != nil {
			refuseBody(long, err) // waiting for the body has used up the time of the usual answer
			return
		}
		if !localhttp.Release(r) {
			panic(http.ErrAbortHandler) // the connection has given way, with an answer
		}
		defer long.extend() // for the server's writes after the handler has returned
		// The server continues to read, to notice that the client disconnects.
		if err := long.control.SetReadDeadline(time.Time{}); err != nil {
			panic(http.ErrAbortHandler) // the connection is closed
		}
		r = r.WithContext(r.Context()) // a copy
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(long, r)
	})
}

// readBody reads the body of a request. Its connection counts as a handshake meanwhile: it may have to give way.
func (h *handlers) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == http.NoBody {
		return nil, nil
	}
	localhttp.AwaitBody(r)
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

func refuseBody(w http.ResponseWriter, err error) {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		http.Error(w, fmt.Sprintf("the body has more than %d bytes", maxBody), http.StatusRequestEntityTooLarge)
		return
	}
	http.Error(w, "the body did not come: "+err.Error(), http.StatusRequestTimeout)
}

// longAnswer has a time-out for each piece of an answer, and none for the whole. It hides the other methods of the writer
// below.
type longAnswer struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

var _ http.Flusher = (*longAnswer)(nil)

// extend sets the deadline of the next piece.
func (a *longAnswer) extend() {
	_ = a.control.SetWriteDeadline(time.Now().Add(a.timeout)) // on a closed connection the write fails
}

func (a *longAnswer) Write(b []byte) (int, error) {
	a.extend()
	return a.ResponseWriter.Write(b)
}

// Flush is FlushError without the error.
func (a *longAnswer) Flush() { _ = a.FlushError() }

// FlushError sends what was written, for [http.ResponseController].
func (a *longAnswer) FlushError() error {
	a.extend()
	return a.control.Flush()
}
