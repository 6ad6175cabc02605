package steering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// program chooses among the members of a group, in the kernel. It is attached through one of them. It belongs to the group's
// turn.
type program struct {
	port     *port
	nodes    *portgroup.Map[*agent]
	agents   *agents
	level    reuseport.Rung  // the steering level
	mark     *reuseport.Mark // of the probe that is under way
	sentinel sentinel        // shows whether this is the program that steers
	contest  contest         // with others
	late     time.Time       // when a node was last given up that was to attach a program
	sink     kernel.Sink     // nil until the cluster stops
	drain    *member         // of sink
}

// weights returns the weights by index: none for the kernel's hash, while too little is known.
func (p *program) weights() []uint32 {
	switch {
	case p.level < reuseport.RungBPF || p.nodes.IsUnknown():
		return nil
	case p.sink != nil && p.nodes.Index(p.drain) >= 0:
		shares := make([]uint32, len(p.nodes.Order()))
		shares[p.nodes.Index(p.drain)] = 1
		return shares
	default:
		return p.nodes.Weights()
	}
}

// excludes reports whether a member gets no new connections.
func (p *program) excludes(m *member) bool { return !p.contest.on && p.nodes.Excludes(m) }

// makeRoom prepares for a leave. The last member will move to the free index, and the last index will be beyond the
// group, where the hash decides and may choose a member that is leaving too. So the last gets nothing for a moment. It
// returns false if that cannot be, as no other member gets anything.
func (p *program) makeRoom(ctx context.Context) bool {
	shares, last := p.weights(), len(p.nodes.Order())-1
	if shares == nil || shares[last] == 0 {
		return true
	}
	shares[last] = 0
	if !slices.ContainsFunc(shares, func(share uint32) bool { return share > 0 }) {
		return false
	}
	return p.attach(ctx, reuseport.Steering{Weights: shares}) == nil
}

// publish steers new connections by the map, and notes the weights: a node may become suspect in the meantime.
func (p *program) publish(ctx context.Context) error {
	p.nodes.Steered(nil)
	switch p.level {
	case reuseport.RungBPF, reuseport.RungBPFMigrate:
		shares := p.weights()
		if shares == nil {
			p.nodes.Leak() // the hash sends connections to excluded members, too
		}
		if err := p.attach(ctx, reuseport.Steering{Weights: shares}); err != nil {
			return err
		}
		p.nodes.Steered(shares)
		return nil
	case reuseport.RungIncomingCPU:
		return p.cover(ctx)
	default:
		return nil
	}
}

// attach attaches a program, with the mark of the probe that is under way, or else the one of the sentinel.
func (p *program) attach(ctx context.Context, s reuseport.Steering) error {
	if len(p.nodes.Members()) == 0 {
		return nil
	}
	if s.Mark == nil {
		s.Mark = p.mark
	}
	if s.Mark == nil {
		s.Mark = p.sentinel.mark(ctx, p.sentinelFor(s.Weights))
	}
	err := p.attachThroughAny(ctx, s)
	p.sentinel.note(err == nil)
	return err
}

// sentinelFor returns the member that is to be the sentinel: it gets connections by weights, and is the master's own if possible.
func (p *program) sentinelFor(weights []uint32) (found *member) {
	if p.level < reuseport.RungBPF || p.sink != nil {
		return nil
	}
	for i, m := range p.nodes.Order() {
		switch {
		case i >= len(weights) || weights[i] == 0 || m.Node == nil || m.Node.IsSuspect():
		case m.Node.id == p.agents.self:
			return m
		case found == nil:
			found = m
		}
	}
	return found
}

// attachThroughAny attaches a program through whichever member does it: our own first, as it costs no message.
func (p *program) attachThroughAny(ctx context.Context, s reuseport.Steering) error {
	if p.sink != nil {
		return p.sink.Attach(s)
	}
	errs := errors.New("no member can attach the program")
	callable := p.callable()
	if len(callable) == 0 && len(s.Weights) == 0 {
		return nil // as it was
	}
	for i, m := range callable {
		timeout := attachTimeout
		if i == len(callable)-1 { // no other member is left to try
			timeout = callTimeout
		}
		err := p.attachThrough(ctx, m, s, timeout)
		if err == nil {
			return nil
		}
		errs = fmt.Errorf("%w; node %d: %w", errs, m.Node.id, err)
	}
	return errs
}

// attachThrough asks one member to attach a program within timeout: a process that was stopped must not attach an old program
// when it continues.
func (p *program) attachThrough(ctx context.Context, m *member, s reuseport.Steering, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	until := p.port.kernel.Now() + timeout
	err := m.Node.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Attach(ctx, p.port.key, s, until) })
	if errors.Is(err, context.DeadlineExceeded) {
		p.nodes.Late()
		p.late = time.Now()
	}
	return err
}

// callable returns the members that can be asked: the master's own first, suspects last.
func (p *program) callable() []*member {
	var first, last []*member
	for _, m := range p.nodes.Members() {
		switch {
		case m.Node == nil || m.Node.dead.Load():
		case m.Node.IsSuspect():
			last = append(last, m)
		case m.Node.id == p.agents.self:
			first = slices.Insert(first, 0, m)
		default:
			first = append(first, m)
		}
	}
	return append(first, last...)
}

// cover steers by SO_INCOMING_CPU.
func (p *program) cover(ctx context.Context) (err error) {
	cpus := p.nodes.Cover(p.port.kernel.OnlineCPUs())
	for i, m := range p.nodes.Members() {
		if m.Node == nil {
			continue
		}
		cpu := -1
		if cpus != nil {
			cpu = cpus[i]
		}
		callErr := m.Node.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.SetCPU(ctx, p.port.key, cpu) })
		if callErr != nil && !m.Node.IsSuspect() {
			err = errline.Join(err, fmt.Errorf("node %d: %w", m.Node.id, callErr))
		}
	}
	return err
}
