package bus

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/internal/closehooks"
	"github.com/multinode-go/multinode/peer"
)

// hub is what all copies of a Bus share: the links and the subscriptions.
type hub struct {
	opts       Options
	mesh       membership
	links      links
	watch      watch
	running    sync.WaitGroup  // links, workers and timers
	close      func() error    // shutdown, once
	closeHooks closehooks.List // of OnClose
	closing    chan none       // closed by Close

	mu            sync.Mutex    // held while a link or a subscription is added, so that each link has each subscription
	ended         bool          // guarded by mu; no link and no subscription is added once it is set
	subscriptions subscriptions // guarded by mu
}

type none = struct{}

// membership is the part of a mesh that the bus uses.
type membership struct {
	self     int                     // our id, -1 without a mesh
	members  func() []peer.Info      // peers that are on the bus, linked or not
	cut      func(peer.Info, string) // ends a membership
	withdraw func()                  // stops opening streams
}

func newHub(opts Options) *hub {
	h := &hub{
		opts: opts.withDefaults(),
		mesh: membership{
			self:     -1,
			members:  func() []peer.Info { return nil },
			cut:      func(peer.Info, string) {},
			withdraw: func() {},
		},
		closing:       make(chan none),
		subscriptions: newSubscriptions(),
	}
	h.close = sync.OnceValue(h.shutdown)
	h.links.init()
	return h
}

// open makes a link of a stream. The link has all subscriptions of this node, now and later.
func (h *hub) open(conn net.Conn, who peer.Info) {
	if l := newLink(h, conn, who); !h.add(l) {
		l.close() // with the code that tells the peer of the end of the bus
	}
}

// add starts a link. It returns false after Close.
func (h *hub) add(l *link) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.links.add(l)
	l.greet(h.subscriptions.byTopic)
	h.running.Go(l.read) // ends with the stream
	return true
}

func (h *hub) subscribe(s *Subscription) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ended:
		return net.ErrClosed
	case h.subscriptions.byTopic[s.topic] != nil:
		return errors.New("this node has subscribed it: one subscription can serve all")
	case len(h.subscriptions.byTopic) >= maxSubscriptions:
		return fmt.Errorf("%d topics are subscribed, which is the most", maxSubscriptions)
	}
	h.subscriptions.add(s)
	h.links.each(func(l *link) { l.control(s.announcement()) })
	return nil
}

func (h *hub) unsubscribe(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed.Swap(true) {
		return
	}
	h.subscriptions.remove(s)
	h.links.each(func(l *link) { l.control(message{kind: kindUnsubscribe, id: s.number}) })
}

// subscription returns the subscription with a number, nil if it is closed.
func (h *hub) subscription(number uint64) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.subscriptions.byNumber[number]
}

// isClosed reports whether Close was called.
func (h *hub) isClosed() bool { return closed.Is(h.closing) }
