package roles

import (
	"context"
	"errors"
	"io"

	"github.com/nats-io/nats.go"
)

// followNATS answers on the topic of all, and the first peer also on those that are its own.
func followNATS(p Player) (io.Closer, error) {
	c, err := nats.Connect(p.Broker)
	if err != nil {
		return nil, err
	}
	_, err = c.Subscribe(topicAll, func(m *nats.Msg) { _ = m.Respond(m.Data) }) // it fails when the team ends
	if p.ID == 1 {
		var counted counter // the messages of a subscription come one after the other
		one, failed := c.Subscribe(topicOne, func(m *nats.Msg) {
			if answer := counted.answer(m.Data); answer != nil {
				_ = m.Respond(answer) // it fails when the team ends
			}
		})
		err = errors.Join(err, failed, one.SetPendingLimits(-1, -1))
	}
	return nothing, errors.Join(err, c.Flush()) // the broker knows of it now
}

// followNATSCache is what one writes with NATS: each process has a cache of its own, and drops the key of each message.
func followNATSCache(p Player) (io.Closer, error) {
	c, err := nats.Connect(p.Broker)
	if err != nil {
		return nil, err
	}
	entries := newOtterCache()
	for _, topic := range []string{topicAll, topicFill} {
		_, subscribed := c.Subscribe(topic, func(m *nats.Msg) {
			if answer, err := entries.answer(topic, m.Data); err == nil {
				_ = m.Respond(answer) // it fails when the team ends
			}
		})
		err = errors.Join(err, subscribed)
	}
	return nothing, errors.Join(err, c.Flush()) // the broker knows of it now
}

// natsLeader asks all peers with one message, and receives an answer from each, as programs with NATS do.
type natsLeader struct {
	*nats.Conn
	ctx     context.Context // of the process
	peers   int
	inbox   string
	answers chan *nats.Msg
	message []byte
}

func newNATSLeader(ctx context.Context, p Player) (*natsLeader, error) {
	c, err := nats.Connect(p.Broker)
	if err != nil {
		return nil, err
	}
	l := &natsLeader{
		Conn: c, ctx: ctx, peers: p.Peers, inbox: c.NewInbox(), answers: make(chan *nats.Msg, 2*p.Peers), message: message(forAnswer),
	}
	_, err = c.ChanSubscribe(l.inbox, l.answers)
	return l, err
}

func leadNATS(ctx context.Context, p Player) (leader, error) {
	l, err := newNATSLeader(ctx, p)
	if err != nil {
		return leader{}, err
	}
	return leader{nothing, messages(l.roundTrip, l.fanOut, l.link)}, nil
}

func leadNATSCache(ctx context.Context, p Player) (leader, error) {
	l, err := newNATSLeader(ctx, p)
	if err != nil {
		return leader{}, err
	}
	return leader{nothing, leadOtter(l.askAll)}, nil
}

func (l *natsLeader) roundTrip() error {
	m, err := l.RequestWithContext(l.ctx, topicOne, l.message)
	if err != nil {
		return err
	}
	return wholeAnswer(m.Data)
}

func (l *natsLeader) fanOut() error { return l.askAll(topicAll, l.message, wholeAnswer) }

// askAll has each peer's answer checked.
func (l *natsLeader) askAll(topic string, question []byte, check func([]byte) error) error {
	if err := l.PublishRequest(topic, l.inbox, question); err != nil {
		return err
	}
	for range l.peers {
		select {
		case m := <-l.answers:
			if err := check(m.Data); err != nil {
				return err
			}
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	return nil
}

func (l *natsLeader) link() (link, error) {
	one := message(forCount)
	finish := func() (int64, error) {
		m, err := l.RequestWithContext(l.ctx, topicOne, message(forTotal))
		if err != nil {
			return 0, err
		}
		return total(m.Data)
	}
	return link{func() error { return l.Publish(topicOne, one) }, finish}, nil
}
