package bus

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// remoteSubscriptions are the subscriptions of a peer. The reader changes them, and senders read them without a lock.
type remoteSubscriptions struct {
	byTopic atomic.Pointer[map[string]*remoteSubscription] // replaced by the reader, never changed
	byID    map[uint64]*remoteSubscription                 // the reader's

	closedMu sync.Mutex
	closed   []*remoteSubscription // guarded by closedMu; a goroutine may still be sending to them
	sent     uint64                // guarded by closedMu; messages to closed ones that are settled
}

func (rs *remoteSubscriptions) init() {
	rs.byID = make(map[uint64]*remoteSubscription)
	rs.byTopic.Store(&map[string]*remoteSubscription{})
}

// of returns the subscription of a topic, nil if there is none.
func (rs *remoteSubscriptions) of(topic string) *remoteSubscription {
	return (*rs.byTopic.Load())[topic]
}

// all returns the subscriptions by topic. The map must not be changed.
func (rs *remoteSubscriptions) all() map[string]*remoteSubscription { return *rs.byTopic.Load() }

// add makes it possible to send to a subscription of the peer.
func (rs *remoteSubscriptions) add(l *link, m message) error {
	topic, old := string(m.data), rs.all()
	if old[topic] != nil || rs.byID[m.id] != nil || len(old) >= maxSubscriptions {
		return violated("topic %q, or number %d, is subscribed, or %d others are", topic, m.id, maxSubscriptions)
	}
	r := newRemoteSubscription(l, topic, m.id)
	rs.byID[m.id] = r
	rs.change(func(byTopic map[string]*remoteSubscription) { byTopic[topic] = r })
	return nil
}

// remove ends a subscription of the peer. The peer drops what is on its way to it.
func (rs *remoteSubscriptions) remove(m message) error {
	r := rs.byID[m.id]
	if r == nil {
		return violated("end of subscription %d, which there is not", m.id)
	}
	delete(rs.byID, m.id)
	rs.closedMu.Lock()
	defer rs.closedMu.Unlock()
	rs.change(func(byTopic map[string]*remoteSubscription) { delete(byTopic, r.topic) })
	r.close()
	rs.closed = slices.DeleteFunc(append(rs.closed, r), func(r *remoteSubscription) bool {
		settled := r.isSettled()
		if settled {
			rs.sent += r.sent.Load()
		}
		return settled
	})
	return nil
}

func (rs *remoteSubscriptions) change(f func(byTopic map[string]*remoteSubscription)) {
	byTopic := maps.Clone(rs.all())
	f(byTopic)
	rs.byTopic.Store(&byTopic)
}

// credit notes what the peer says it has handled. Two such messages may have changed places on the way.
func (rs *remoteSubscriptions) credit(m message) error {
	r := rs.byID[m.id]
	if r == nil {
		return nil // sent before the peer closed the subscription
	}
	return r.credit(m)
}

// total returns how many messages were sent, also to subscriptions that are closed.
func (rs *remoteSubscriptions) total() uint64 {
	rs.closedMu.Lock()
	defer rs.closedMu.Unlock()
	sum := rs.sent
	for _, r := range rs.closed {
		sum += r.sent.Load()
	}
	for _, r := range rs.all() {
		sum += r.sent.Load()
	}
	return sum
}
