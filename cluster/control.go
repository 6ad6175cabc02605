package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/reuseport"
)

// controlStream names the stream of the mesh between the master and each worker.
const controlStream = "control"

const (
	maxMessage   = 1 << 20         // bytes of one message
	sendTimeout  = 5 * time.Second // for a peer that does not read
	closeTimeout = time.Second
)

type kind string

const (
	kindAnswer kind = "answer" // to the question with the same Seq

	// What a worker says.
	kindHello   kind = "hello"   // first: what I have (Seats, Ready)
	kindReady   kind = "ready"   // I serve
	kindDrained kind = "drained" // I have no listener any more; it took the time Took

	// What a worker asks.
	kindFailed  kind = "failed"  // my node ends with Error
	kindReserve kind = "reserve" // hold Port for us all; answered with its Address
	kindJoin    kind = "join"    // let me into the group of Port; the master asks back with kindOpen
	kindExclude kind = "exclude" // let no new connection come to my listener of Port; answered with the Epoch
	kindLeave   kind = "leave"   // since that Epoch nothing has come: the master asks back with kindShut, or answers Again

	// What a master says.
	kindStop kind = "stop" // leave within Timeout

	// What a master asks.
	kindOpen     kind = "open"    // listen on Address for Port; answered with the Inode
	kindShut     kind = "shut"    // close your listener of Port
	kindMove     kind = "move"    // leave the group of Port and join it again
	kindAttach   kind = "attach"  // attach Steering through your listener of Port
	kindSnapshot kind = "picture" // keep the Snapshot of the group of Port for my successor
	kindCPU      kind = "cpu"     // let your listener of Port have the connections of CPU
	kindExpect   kind = "expect"  // a connection from Source to Port is a question; answered when you watch for it
	kindAwait    kind = "await"   // answered when you have accepted it
	kindForget   kind = "forget"  // do not watch for it any more; answered with whether it Came
	kindProbe    kind = "probe"   // answered when your accept loops have passed, with Seats and counts
)

// message is what travels on the control stream, as JSON. What a kind does not need is left out; what a
// node does not know it ignores, so that two versions can talk.
type message struct {
	Kind     kind                `json:"kind"`
	Seq      int                 `json:"seq,omitempty"` // of a question, and of its answer
	Port     *portKey            `json:"port,omitempty"`
	Address  string              `json:"address,omitempty"`
	Inode    uint32              `json:"inode,omitempty"`
	Epoch    int                 `json:"epoch,omitempty"`
	Again    bool                `json:"again,omitempty"`
	Source   netip.AddrPort      `json:"source,omitzero"`
	Steering *reuseport.Steering `json:"steering,omitempty"`
	Snapshot *portgroup.Snapshot `json:"picture,omitempty"`
	Until    time.Duration       `json:"until,omitempty"` // when it is too late, by CLOCK_MONOTONIC, nanoseconds
	CPU      int                 `json:"cpu,omitempty"`
	Timeout  time.Duration       `json:"timeout,omitempty"` // nanoseconds
	All      bool                `json:"all,omitempty"`     // the whole cluster stops
	Took     time.Duration       `json:"took,omitempty"`    // nanoseconds
	Ready    bool                `json:"ready,omitempty"`
	Came     bool                `json:"came,omitempty"`
	Seats    []seatInfo          `json:"seats,omitempty"`
	Conns    int                 `json:"conns,omitempty"`
	Requests int                 `json:"requests,omitempty"`
	Error    string              `json:"error,omitempty"`
	Errno    int                 `json:"errno,omitempty"`
}

// seatInfo is what a node says of one of its listeners.
type seatInfo struct {
	Port    portKey `json:"port"`
	Address string  `json:"address"`
	Inode   uint32  `json:"inode"`
	Queue   int     `json:"queue,omitempty"`
	Limit   int     `json:"limit,omitempty"`

	Snapshot *portgroup.Snapshot `json:"picture,omitempty"` // the last that the node was told
}

// failure makes an answer of an error. The errno below it travels too.
func failure(err error) (m message) {
	m.Error = err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		m.Errno = int(errno)
	}
	return m
}

// err makes an error of an answer.
func (m message) err() error {
	if m.Error == "" {
		return nil
	}
	return &remoteError{text: m.Error, errno: syscall.Errno(m.Errno)}
}

// remoteError is an error that the other end of a control stream has told. errors.Is finds its errno.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// errUnlinked is the error of a question whose link has ended.
var errUnlinked = fmt.Errorf("the control stream has ended: %w", net.ErrClosed)

// link is one end of a control stream. Any goroutine may send and ask; one receives.
type link struct {
	conn  *framing.Conn
	ended chan struct{} // closed when nobody receives any more
	rank  int           // generation of the master at the other end

	mu    sync.Mutex
	seq   int                    // guarded by mu
	asked map[int]chan<- message // guarded by mu; by Seq; each has room for the answer
}

func newLink(stream io.ReadWriteCloser) *link {
	opts := framing.Options{MaxMessage: maxMessage, CloseTimeout: closeTimeout}
	return &link{conn: framing.New(stream, opts), ended: make(chan struct{}), asked: make(map[int]chan<- message)}
}

// close ends the stream. It is idempotent.
func (l *link) close() { _ = l.conn.Close(framing.CodeNormal, "") }

// send sends m. A nil error does not tell that it has arrived: what must be known is asked.
func (l *link) send(m message) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	if err := l.conn.Send(ctx, m); err != nil {
		return fmt.Errorf("control message %s: %w", m.Kind, err)
	}
	return nil
}

// ask sends a question and waits for the answer. An error that the answer holds is returned.
func (l *link) ask(ctx context.Context, question message) (message, error) {
	answers := make(chan message, 1)
	l.mu.Lock()
	l.seq++
	seq := l.seq
	l.asked[seq] = answers
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asked, seq)
	}()
	question.Seq = seq
	if err := l.send(question); err != nil {
		return message{}, fmt.Errorf("%w: %w", errUnlinked, err)
	}
	select {
	case answer := <-answers:
		return answer, answer.err()
	case <-l.ended:
		select {
		case answer := <-answers: // it was the last thing that came
			return answer, answer.err()
		default:
			return message{}, errUnlinked
		}
	case <-ctx.Done():
		return message{}, fmt.Errorf("no answer to %q: %w", question.Kind, ctx.Err())
	}
}

// serve handles each message until the stream ends, which is then closed: what is no question by told, in order, and a
// question by asked, in a goroutine of its own, with a context that ends with the stream. serve waits for those. It
// returns an error if the peer has sent what it may not.
func (l *link) serve(told func(message), asked func(context.Context, message) message) error {
	ctx, cancel := context.WithCancel(context.Background())
	var questions sync.WaitGroup
	defer questions.Wait()
	defer cancel()
	defer close(l.ended)
	defer l.conn.Close(framing.CodeNormal, "") // the stream may have ended before
	for {
		m, err := l.receive()
		switch {
		case err != nil:
			_, garbage := errors.AsType[*garbageError](err)
			if !garbage {
				return nil
			}
			return fmt.Errorf("control stream: %w", err)
		case m.Kind == kindAnswer:
			l.deliver(m)
		case m.Seq == 0:
			told(m)
		default:
			questions.Go(func() { // ends when asked returns, which ctx makes it do
				answer := asked(ctx, m)
				answer.Kind, answer.Seq = kindAnswer, m.Seq
				_ = l.send(answer) // an error ends the link
			})
		}
	}
}

// garbageError is for what a peer may not send.
type garbageError struct{ err error }

func (e *garbageError) Error() string { return e.err.Error() }
func (e *garbageError) Unwrap() error { return e.err }

func (l *link) receive() (m message, err error) {
	received, err := l.conn.Receive(context.Background())
	if err != nil {
		if _, ok := errors.AsType[*framing.ProtocolError](err); ok {
			err = &garbageError{err}
		}
		return m, err
	}
	if err := received.Decode(&m); err != nil {
		return m, &garbageError{err}
	}
	return m, nil
}

func (l *link) deliver(answer message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answers := l.asked[answer.Seq]; answers != nil {
		answers <- answer
		delete(l.asked, answer.Seq)
	}
}
