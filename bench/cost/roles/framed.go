package roles

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/multinode-go/multinode/framing"
)

// followFramed is a peer with one framed stream to it.
func followFramed(p Player) (io.Closer, error) { return p.accept(serveFramed) }

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

func leadFramed(ctx context.Context, p Player) (leader, error) {
	streams, err := p.dialPeers(ctx, nil)
	if err != nil {
		return leader{}, err
	}
	l := &framedLeader{ctx: ctx}
	for _, stream := range streams {
		l.conns = append(l.conns, framing.New(stream, framing.Options{}))
	}
	l.question, err = framing.Encode(message(forAnswer))
	roundTrip := func() error { return l.exchange(l.conns[:1]) }
	fanOut := func() error { return l.exchange(l.conns) }
	return leader{nothing, messages(roundTrip, fanOut, l.link)}, err
}

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
	if len(data) != MessageSize {
		return fmt.Errorf("an answer of %d bytes, want %d", len(data), MessageSize)
	}
	return nil
}

func (l *framedLeader) link() (link, error) {
	conn, one := l.conns[0], framing.Message{Type: framing.Binary, Data: message(forCount)}
	finish := func() (int64, error) {
		if err := conn.Send(l.ctx, message(forTotal)); err != nil {
			return 0, err
		}
		m, err := conn.Receive(l.ctx)
		if err != nil {
			return 0, err
		}
		return total(m.Data)
	}
	return link{func() error { return conn.SendMessage(l.ctx, one) }, finish}, nil
}
