package bus

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"github.com/multinode-go/multinode/framing"
)

// call is a request or a flush that waits for its answer.
type call struct {
	remote *remoteSubscription // of a request, nil for a flush
	group  *group
	number uint64
	size   uint64 // bytes in the window of remote, until the answer comes
	reads  bool   // its caller has borrowed the reading of the link

	over   bool            // guarded by calls.mu; the fields below do not change once it is set
	answer framing.Message // guarded by calls.mu until the group has ended
	err    error           // guarded by calls.mu until the group has ended
}

// newCall returns a request that is a group of its own.
func newCall(r *remoteSubscription) *call {
	one := new(struct {
		call  call
		group group
	})
	one.group.init(1)
	one.call = call{remote: r, group: &one.group}
	return &one.call
}

// group is one or more calls that one goroutine waits for. It is woken once, not with each answer.
type group struct {
	left   atomic.Int32 // calls that are not over
	single bool         // there is one call
	done   chan none    // closed at the end; of a single call, guarded by calls.mu and nil until the caller has to be woken
}

func (g *group) init(calls int) {
	g.left.Store(int32(calls))
	if g.single = calls == 1; !g.single {
		g.done = make(chan none)
	}
}

func (g *group) finish() {
	if g.left.Add(-1) == 0 && g.done != nil {
		close(g.done)
	}
}

func (g *group) isOver() bool { return g.left.Load() == 0 }

// wait waits until the calls of all deliveries are over. When ctx is done first, it ends the others.
func (g *group) wait(ctx context.Context, deliveries []delivery) {
	if g.single && deliveries[0].answered(ctx) {
		return
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		for _, d := range deliveries {
			d.remote.link.calls.abandon(d.call, ctx.Err())
		}
	}
}

// calls are the calls of a link that wait.
type calls struct {
	mu      sync.Mutex
	last    uint64           // guarded by mu
	waiting map[uint64]*call // guarded by mu; also abandoned calls, since their room in the window is not free
	err     error            // guarded by mu; no more calls
}

// add gives a call its number.
func (cs *calls) add(c *call) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.err != nil {
		return cs.err
	}
	if cs.waiting == nil {
		cs.waiting = make(map[uint64]*call)
	}
	cs.last++
	c.number = cs.last
	cs.waiting[c.number] = c
	return nil
}

// watch makes the channel that is closed at the end of a single call, and returns false if the call is over.
func (cs *calls) watch(g *group) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if g.isOver() {
		return false
	}
	g.done = make(chan none)
	return true
}

// drop removes a call that was not sent.
func (cs *calls) drop(c *call, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.waiting, c.number)
	c.endLocked(framing.Message{}, err)
}

// abandon ends a call whose caller has stopped waiting.
func (cs *calls) abandon(c *call, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.endLocked(framing.Message{}, err)
}

// answer ends the call that m answers. It returns false if there is none, and whether no other call waits, on this link or
// with it.
func (cs *calls) answer(m message) (ok, alone bool) {
	cs.mu.Lock()
	c := cs.waiting[m.number]
	if c == nil || (c.remote == nil) != (m.kind == kindFlushed) {
		cs.mu.Unlock()
		return false, false
	}
	delete(cs.waiting, m.number)
	switch m.kind {
	case kindAnswer:
		c.endLocked(framing.Message{Type: m.typ, Data: bytes.Clone(m.data)}, nil)
	case kindFailure:
		c.endLocked(framing.Message{}, c.remote.refusal(m))
	default:
		c.endLocked(framing.Message{}, nil)
	}
	alone = c.group.single && len(cs.waiting) == 0
	cs.mu.Unlock()
	if c.remote != nil {
		c.remote.release(c.size)
	}
	return true, alone
}

// fail ends all calls, and refuses others.
func (cs *calls) fail(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.err == nil {
		cs.err = err
	}
	for _, c := range cs.waiting {
		c.endLocked(framing.Message{}, err)
	}
}

func (c *call) endLocked(answer framing.Message, err error) {
	if c.over {
		return
	}
	c.over, c.answer, c.err = true, answer, err
	c.group.finish()
}

// refusal returns the error in a failure.
func (r *remoteSubscription) refusal(m message) error {
	if m.reason == reasonNoSubscriber {
		return ErrNoSubscriber
	}
	return &RemoteError{Peer: r.link.peer, Topic: r.topic, Text: string(m.data)}
}
