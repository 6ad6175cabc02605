package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// Message is a message of a peer. What a handler gets belongs to the bus, and Data are good until the handler returns;
// Decode copies. An answer belongs to whoever has asked.
type Message struct {
	From  peer.Info
	Topic string
	framing.Message
}

// Handler is called with each message of a topic. What it returns is the answer if the message is a request, and its
// error then comes to the requester as a *RemoteError; a nil answer is an empty one. The error of a handler of another
// message is logged.
//
// Messages of one peer come one after the other, those of different peers at the same time. ctx ends when the
// subscription or the bus is closed; for a request also when the requester is gone. A panic is logged, and answers a
// request with an error.
type Handler func(ctx context.Context, m Message) (answer any, err error)

// Subscription is what Subscribe returns.
type Subscription struct {
	hub     *hub
	topic   string
	number  uint64
	handler Handler
	ctx     context.Context //nolint:containedctx // of the handler
	cancel  func()
	closed  atomic.Bool
	calls   sync.RWMutex // held for reading while handlers run

	inboxesMu sync.Mutex
	inboxes   map[rendezvous.Incarnation]*inbox // guarded by inboxesMu; the last one for each peer
}

// Subscribe calls h with each message that a peer sends on the topic, until the subscription is closed. A peer can send
// as soon as it knows of the subscription, which Flush waits for. A topic is 1 to 255 bytes of UTF-8, and one node can
// subscribe it once.
func (b *Bus) Subscribe(topic string, h Handler) (*Subscription, error) {
	if err := checkTopic(topic); err != nil {
		return nil, fmt.Errorf("bus: subscribe: %w", err)
	}
	s := &Subscription{hub: b.hub, topic: topic, handler: h, inboxes: make(map[rendezvous.Incarnation]*inbox)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := b.hub.subscribe(s); err != nil {
		s.cancel()
		return nil, fmt.Errorf("bus: subscribe %q: %w", topic, err)
	}
	return s, nil
}

// Close ends the subscription: when it returns, no call of the handler runs any more, so the handler must not call it.
// What is on its way is dropped, and requests among it are answered with an error. Close always returns nil.
func (s *Subscription) Close() error {
	s.hub.unsubscribe(s)
	s.cancel()
	s.calls.Lock() // when the calls have returned
	defer s.calls.Unlock()
	return nil
}

// announcement is the message that tells a peer of the subscription.
func (s *Subscription) announcement() message {
	return message{kind: kindSubscribe, id: s.number, data: []byte(s.topic)}
}

// subscriptions are those of this node.
type subscriptions struct {
	byTopic  map[string]*Subscription
	byNumber map[uint64]*Subscription
	last     uint64 // the number of the newest one
}

func newSubscriptions() subscriptions {
	return subscriptions{byTopic: make(map[string]*Subscription), byNumber: make(map[uint64]*Subscription)}
}

func (ss *subscriptions) add(s *Subscription) {
	ss.last++
	s.number = ss.last
	ss.byTopic[s.topic], ss.byNumber[s.number] = s, s
}

func (ss *subscriptions) remove(s *Subscription) {
	delete(ss.byTopic, s.topic)
	delete(ss.byNumber, s.number)
}
