package cost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/multinode-go/multinode/framing"
)

// What the first byte of a message asks for, where all messages go the same way.
const (
	forAnswer = 'a' // as many bytes
	forCount  = 'c' // nothing
	forTotal  = 't' // how many were counted since the last time
)

func message(purpose byte) []byte {
	m := make([]byte, messageSize)
	m[0] = purpose
	return m
}

// followFramed is a peer with one framed stream to it.
func followFramed(p player) (io.Closer, error) { return p.accept(serveFramed) }

func serveFramed(stream net.Conn) {
	c := framing.New(stream, framing.Options{})
	defer c.Close(framing.CodeNormal, "")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var counted uint64
	_ = c.Serve(ctx, func(m framing.Message) error { // it ends when the leader hangs up
		switch m.Data[0] {
		case forCount:
			counted++
			return nil
		case forTotal:
			total := binary.BigEndian.AppendUint64(nil, counted)
			counted = 0
			return c.SendMessage(ctx, framing.Message{Type: framing.Binary, Data: total})
		default:
			return c.SendMessage(ctx, m)
		}
	})
}

// framedLeader sends one message encoded once to all peers and then receives from all, in one goroutine.
type framedLeader struct {
	ctx      context.Context // of the process
	conns    []*framing.Conn
	question framing.Encoded
}

func leadFramed(ctx context.Context, p player) (leader, error) {
	l := &framedLeader{ctx: ctx}
	for id := 1; id <= p.Peers; id++ {
		stream, err := p.dial(ctx, id)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.conns = append(l.conns, framing.New(stream, framing.Options{}))
	}
	var err error
	l.question, err = framing.Encode(message(forAnswer))
	return l, err
}

func (l *framedLeader) roundTrip() error { return l.exchange(l.conns[:1]) }
func (l *framedLeader) fanOut() error    { return l.exchange(l.conns) }

func (l *framedLeader) exchange(conns []*framing.Conn) error {
	for _, c := range conns {
		if err := c.SendEncoded(l.ctx, l.question); err != nil {
			return err
		}
	}
	for _, c := range conns {
		m, err := c.Receive(l.ctx)
		if err != nil {
			return err
		}
		if err := wholeAnswer(m.Data); err != nil {
			return err
		}
	}
	return nil
}

// wholeAnswer checks that the same bytes have come back as in the baseline.
func wholeAnswer(data []byte) error {
	if len(data) != messageSize {
		return fmt.Errorf("an answer of %d bytes, want %d", len(data), messageSize)
	}
	return nil
}

func (l *framedLeader) link() (link, error) {
	return framedLink{l.ctx, l.conns[0], framing.Message{Type: framing.Binary, Data: message(forCount)}}, nil
}

func (l *framedLeader) Close() (err error) {
	for _, c := range l.conns {
		err = errors.Join(err, c.Close(framing.CodeNormal, ""))
	}
	return err
}

type framedLink struct {
	ctx     context.Context // of the process
	conn    *framing.Conn
	message framing.Message
}

func (l framedLink) send() error { return l.conn.SendMessage(l.ctx, l.message) }

func (l framedLink) finish() (int64, error) {
	if err := l.conn.Send(l.ctx, message(forTotal)); err != nil {
		return 0, err
	}
	m, err := l.conn.Receive(l.ctx)
	if err != nil {
		return 0, err
	}
	return total(m.Data)
}

// total reads the answer to forTotal.
func total(data []byte) (int64, error) {
	if len(data) != 8 {
		return 0, fmt.Errorf("want a total of 8 bytes, have %d", len(data))
	}
	return int64(binary.BigEndian.Uint64(data)), nil
}
