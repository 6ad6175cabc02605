package roles

import (
	"context"
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
	var counted counter
	_ = c.Serve(ctx, func(m framing.Message) error { // it ends when the leader hangs up
		if m.Data = counted.answer(m.Data); m.Data == nil {
			return nil
		}
		return c.SendMessage(ctx, m)
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
