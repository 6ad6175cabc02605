package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/multinode-go/multinode/framing"
)

// controlStream names the stream of the mesh between the master and each worker.
const controlStream = "control"

const (
	maxMessage   = 64 << 10        // bytes of one message
	sendTimeout  = 5 * time.Second // for a peer that does not read
	closeTimeout = time.Second
)

type kind string

const (
	kindReady  kind = "ready"  // worker: I serve
	kindFailed kind = "failed" // worker: my node ends with Error; it is answered
	kindListen kind = "listen" // worker: which address is Port? The answer has Address or Error
	kindAnswer kind = "answer" // master: to the question with the same Seq
	kindStop   kind = "stop"   // master: leave within Timeout
)

// message is what travels on the control stream, as JSON. What a kind does not need is left out; what a
// node does not know it ignores, so that two versions can talk.
type message struct {
	Kind    kind          `json:"kind"`
	Seq     int           `json:"seq,omitempty"`
	Port    *portKey      `json:"port,omitempty"`
	Address string        `json:"address,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // nanoseconds
	Error   string        `json:"error,omitempty"`
	Errno   int           `json:"errno,omitempty"`
}

// link is one end of a control stream. Any goroutine may send; one receives.
type link struct {
	conn  *framing.Conn
	ended chan struct{} // closed when nobody receives any more
}

func newLink(stream io.ReadWriteCloser) *link {
	opts := framing.Options{MaxMessage: maxMessage, CloseTimeout: closeTimeout}
	return &link{conn: framing.New(stream, opts), ended: make(chan struct{})}
}

// send sends m. A nil error does not tell that it has arrived: what must be known is answered.
func (l *link) send(m message) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	if err := l.conn.Send(ctx, m); err != nil {
		return fmt.Errorf("control message %s: %w", m.Kind, err)
	}
	return nil
}

// serve calls handle with each message until the stream ends, which is then closed. It returns an error if the peer has
// sent what it may not.
func (l *link) serve(handle func(message)) error {
	defer close(l.ended)
	defer l.conn.Close(framing.CodeNormal, "") // the stream may have ended before
	for {
		var m message
		received, err := l.conn.Receive(context.Background())
		if err == nil {
			err = received.Decode(&m)
		} else if _, ok := errors.AsType[*framing.ProtocolError](err); !ok {
			return nil
		}
		if err != nil {
			return fmt.Errorf("control stream: %w", err)
		}
		handle(m)
	}
}
