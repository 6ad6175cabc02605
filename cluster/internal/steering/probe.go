package steering

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/reuseport"
)

// probe is a probe connection, and the members that watch for it.
type probe struct {
	kernel.ProbeConn
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

// report is what a member reports of the connection.
type report struct {
	witness
	inode uint32 // of the listener in whose queue it was; 0: the member's own
}

// await returns the report of the member that has accepted the connection, or none if no member reports it before ctx ends.
func (p *probe) await(ctx context.Context) report {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan report, len(p.watching))
	for _, w := range p.watching {
		p.env.Go(func() { // ends with ctx
			inode, err := w.await(ctx, p.port.key, p.Source())
			if err != nil {
				w = witness{}
			}
			answers <- report{w, inode}
		})
	}
	for range p.watching {
		if r := <-answers; r.member != nil {
			return r
		}
	}
	return report{}
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
	came := make(chan whereabouts, 1)
	p.env.Go(func() { came <- p.reported(ctx, to, to.agent) }) // ends with ctx
	for {
		select {
		case found := <-came:
			return found, nil
		case <-time.After(evidenceInterval):
		}
		if found, takers := p.taken(ctx, to); found == elsewhere {
			return p.lastWord(ctx, to, takers)
		} else if found == ours {
			return ours, nil
		}
	}
}

// reported returns where the connection was as the node reports that has accepted it, when it does.
func (p *probe) reported(ctx context.Context, to witness, by *agent) whereabouts {
	switch inode, err := by.await(ctx, p.port.key, p.Source()); {
	case err != nil:
		return unknownWhere
	case inode == to.member.Inode, inode == 0 && by == to.agent:
		return ours
	default:
		return elsewhere
	}
}

// taken returns where the connection seems to have gone, if that is evident, and which processes that are no nodes hold it.
func (p *probe) taken(ctx context.Context, to witness) (found whereabouts, takers []control.Stranger) {
	arrival, inode, err := p.Arrival()
	switch {
	case err != nil:
		return unknownWhere, nil
	case arrival == reuseport.ArrivalAccepted:
		return p.takenBy(ctx, to, inode)
	case arrival == reuseport.ArrivalQueued:
		isEmpty := func(l reuseport.Listener) bool { return l.Inode == to.member.Inode && l.Queue == 0 }
		if is, err := p.port.hasListener(ctx, isEmpty); err != nil || !is {
			return unknownWhere, nil
		}
		if again, _, err := p.Arrival(); err == nil && again == reuseport.ArrivalQueued {
			return elsewhere, nil // it was in another queue
		}
		return unknownWhere, nil
	case arrival == reuseport.ArrivalClosed:
		return elsewhere, nil
	default:
		return unknownWhere, nil
	}
}

// takenBy is taken for a connection that has been accepted, and has that inode.
func (p *probe) takenBy(ctx context.Context, to witness, inode uint32) (found whereabouts, takers []control.Stranger) {
	holders, err := p.port.kernel.Holders(ctx, inode) // none: it is just being accepted, or was closed
	if err != nil || len(holders) == 0 {
		return unknownWhere, nil
	}
	for _, o := range holders {
		a := p.env.ofProcess(o.PID)
		switch {
		case a == nil:
			takers = append(takers, control.Stranger{PID: o.PID, Program: o.Program, Address: p.port.address})
		case a.id == to.id:
			return unknownWhere, nil // the node will report it
		case a.poke(ctx) == nil && p.reported(ctx, to, a) == ours: // it has accepted from the queue of to
			return ours, nil
		}
	}
	return elsewhere, takers
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
