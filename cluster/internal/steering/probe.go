package steering

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// probe is a probe connection, and the members that watch for it.
type probe struct {
	ProbeConn
	port     *port
	env      *environment
	watching []witness
}

// witness is a member with its agent, as it was when it was asked: a member may get another agent in any turn.
type witness struct {
	*agent
	member *member
}

// expect asks members to watch for the connection. Only those that confirm it before ctx ends are waited for.
func (p *probe) expect(ctx context.Context, witnesses []witness) {
	var calls sync.WaitGroup
	var mu sync.Mutex // guards watching
	for _, w := range witnesses {
		calls.Go(func() { // ends with ctx
			if w.expect(ctx, p.port.key, p.Source()) == nil {
				mu.Lock()
				defer mu.Unlock()
				p.watching = append(p.watching, w)
			}
		})
	}
	calls.Wait()
}

// await returns the member that has accepted the connection, or none if no member reports it before ctx ends.
func (p *probe) await(ctx context.Context) witness {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan witness, len(p.watching))
	for _, w := range p.watching {
		p.env.Go(func() { // ends with ctx
			if w.await(ctx, p.port.key, p.Source()) != nil {
				w = witness{}
			}
			answers <- w
		})
	}
	for range p.watching {
		if w := <-answers; w.member != nil {
			return w
		}
	}
	return witness{}
}

// forget ends the watch of all members, and returns when they have confirmed that: after it the port may be a client's.
func (p *probe) forget() {
	ctx, cancel := context.WithTimeout(p.env.ctx, attachTimeout)
	defer cancel()
	var calls sync.WaitGroup
	for _, w := range p.watching {
		calls.Go(func() { // ends with ctx
			_, _ = w.forget(ctx, p.port.key, p.Source()) // a node that is gone has forgotten it
		})
	}
	calls.Wait()
}

// end ends the connection, which has no data to lose. A node that has answered has taken it out of its queue; a program that
// knows nothing of probes is to see a client that changes its mind, and no error.
func (p *probe) end(by *agent) {
	if by != nil && !by.mute {
		_ = p.Close() // nothing is left of it
		return
	}
	p.env.Go(func() { // ends within probeTimeout
		ctx, cancel := context.WithTimeout(p.env.ctx, probeTimeout)
		defer cancel()
		_ = p.Finish(ctx) // it carried nothing
	})
}

// whereabouts is where a connection has gone.
type whereabouts int

const (
	unknownWhere whereabouts = iota // it is not known
	ours                            // to the member that it was steered to
	elsewhere
)

// evidenceInterval is the time between two looks at the state of a connection.
const evidenceInterval = 5 * time.Millisecond

// trace makes the connection, and finds out whether it has reached the member that it is steered to, or else which processes have
// it. It returns elsewhere only on evidence, never because something takes long.
func (p *probe) trace(ctx context.Context, to witness) (whereabouts, []control.Stranger) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	atOnce, cancelExpect := context.WithTimeout(ctx, attachTimeout) // looks wait for a node that was stopped
	p.expect(atOnce, []witness{to})
	cancelExpect()
	if len(p.watching) == 0 {
		return unknownWhere, nil
	}
	defer p.forget()
	if p.Connect(ctx) != nil {
		return unknownWhere, nil
	}
	came := make(chan bool, 1)
	p.env.Go(func() { // ends with ctx
		came <- to.await(ctx, p.port.key, p.Source()) == nil
	})
	for {
		select {
		case answered := <-came:
			if answered {
				return ours, nil
			}
			return unknownWhere, nil
		case <-time.After(evidenceInterval):
		}
		if takers, certainly := p.taken(ctx, to); certainly {
			return p.lastWord(ctx, to, takers)
		}
	}
}

// taken reports whether the connection seems to have reached another member, and which processes that are no nodes hold it.
func (p *probe) taken(ctx context.Context, to witness) (takers []control.Stranger, seems bool) {
	arrival, inode, err := p.Arrival()
	switch {
	case err != nil:
		return nil, false
	case arrival == reuseport.ArrivalAccepted:
		holders, err := p.port.kernel.Holders(ctx, inode) // none: it is just being accepted, or was closed
		for _, o := range holders {
			switch a := p.env.ofProcess(o.PID); {
			case a == nil:
				takers = append(takers, control.Stranger{PID: o.PID, Program: o.Program, Address: p.port.address})
			case a.id == to.id:
				return nil, false // the node will report it
			}
		}
		return takers, err == nil && len(holders) > 0
	case arrival == reuseport.ArrivalQueued:
		isEmpty := func(l reuseport.Listener) bool { return l.Inode == to.member.Inode && l.Queue == 0 }
		if is, err := p.port.hasListener(ctx, isEmpty); err != nil || !is {
			return nil, false
		}
		again, _, err := p.Arrival()
		return nil, err == nil && again == reuseport.ArrivalQueued // it was in another queue
	default:
		return nil, arrival == reuseport.ArrivalClosed
	}
}

// lastWord asks a member once more whether it has accepted a connection that seems to be elsewhere, after each of its accept
// loops has run once: an accept that was under way has ended by then.
func (p *probe) lastWord(ctx context.Context, to witness, takers []control.Stranger) (whereabouts, []control.Stranger) {
	err := to.poke(ctx)
	if err != nil && (len(takers) == 0 || !errors.Is(err, errors.ErrUnsupported)) {
		return unknownWhere, nil
	}
	came, err := to.forget(ctx, p.port.key, p.Source())
	switch {
	case err != nil:
		return unknownWhere, nil
	case came:
		return ours, nil
	default:
		return elsewhere, takers
	}
}
