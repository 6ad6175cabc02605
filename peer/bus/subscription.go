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

// Message is a message of a peer. In a handler, Data is valid until the handler returns; Decode copies. The Data of an
// answer belongs to the caller.
type Message struct {
	From  peer.Info
	Topic string
	framing.Message
}

// Handler handles the messages of a topic: those of one peer one after the other, those of different peers at the same
// time. If the message is a request, the requester gets the answer, empty if it is nil, or the error as a *RemoteError;
// other errors are logged. A panic is logged and is an error. ctx ends when the subscription or the bus is closed, and for
// a request also when the requester is gone.
type Handler func(ctx context.Context, m Message) (answer any, err error)

// Subscription is a subscription of this node.
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

// Subscribe calls h with each message that a peer sends on the topic, until the subscription is closed. Peers send when
// they know of it; Flush waits for that. A topic is 1 to 255 bytes of UTF-8, and a node can subscribe it once.
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

// Close ends the subscription, drops messages on their way, and answers requests among them with an error. No handler runs
// after it, so the handler must not call it. It returns nil.
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
