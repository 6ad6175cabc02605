package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// controlStream names the stream of the mesh between the master and each worker.
const controlStream = "control"

const (
	maxMessage  = 64 << 10        // bytes of one message
	sendTimeout = 5 * time.Second // a peer that does not read is cut off
)

type kind string

const (
	kindReady  kind = "ready"  // worker: I serve
	kindFailed kind = "failed" // worker: my node ends with Error; it is answered
	kindListen kind = "listen" // worker: which address is Port? The answer has Address or Error
	kindAnswer kind = "answer" // master: to the question with the same Seq
	kindStop   kind = "stop"   // master: leave within Timeout
)

// message is what travels on the control stream, as one line of JSON. What a kind does not need is left out; what a
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
	conn  net.Conn
	in    *bufio.Scanner
	ended chan struct{} // closed when nobody receives any more

	sendMu sync.Mutex // held while a message is written
}

func newLink(conn net.Conn) *link {
	in := bufio.NewScanner(conn)
	in.Buffer(nil, maxMessage)
	return &link{conn: conn, in: in, ended: make(chan struct{})}
}

// send writes m within sendTimeout. After an error the link is closed, since half a message may have been written.
func (l *link) send(m message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("control message %s: %w", m.Kind, err)
	}
	l.sendMu.Lock()
	defer l.sendMu.Unlock()
	if err = l.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err == nil {
		_, err = l.conn.Write(append(line, '\n'))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("control message %s: %w", m.Kind, err), l.conn.Close())
	}
	return nil
}

// receive waits for the next message; io.EOF tells that the other end is gone.
func (l *link) receive() (message, error) {
	var m message
	if !l.in.Scan() {
		if err := l.in.Err(); err != nil {
			return m, fmt.Errorf("control stream: %w", err)
		}
		return m, io.EOF
	}
	if err := json.Unmarshal(l.in.Bytes(), &m); err != nil {
		return m, fmt.Errorf("control stream: %w", err)
	}
	return m, nil
}
