package steering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// makeRoom prepares for a leave. The last member will move to the free index, and the last index will be beyond the
// group, where the hash decides and may choose somebody who is leaving too. So the last gets nothing for a moment. It
// returns false if that cannot be, as nobody else is there.
func (g *group) makeRoom(ctx context.Context) bool {
	shares, last := g.weights(), len(g.nodes.Order())-1
	if shares == nil || shares[last] == 0 {
		return true
	}
	shares[last] = 0
	if !slices.ContainsFunc(shares, func(share uint32) bool { return share > 0 }) {
		return false
	}
	return g.attach(ctx, reuseport.Steering{Weights: shares}) == nil
}

// publish steers new connections by the map, and notes how: somebody may become suspect in the meantime.
func (g *group) publish(ctx context.Context) error {
	g.nodes.Steered(nil)
	switch g.level {
	case reuseport.RungBPF, reuseport.RungBPFMigrate:
		shares := g.weights()
		if shares == nil {
			g.nodes.Leak() // the hash sends connections to those who are excluded, too
		}
		if err := g.attach(ctx, reuseport.Steering{Weights: shares}); err != nil {
			return err
		}
		g.nodes.Steered(shares)
		return nil
	case reuseport.RungIncomingCPU:
		return g.cover(ctx)
	default:
		return nil
	}
}

// weights returns the weights by index: none for the kernel's hash, while too little is known.
func (g *group) weights() []uint32 {
	switch {
	case g.level < reuseport.RungBPF || g.nodes.IsUnknown():
		return nil
	case g.sink != nil && g.nodes.Index(g.drain) >= 0:
		shares := make([]uint32, len(g.nodes.Order()))
		shares[g.nodes.Index(g.drain)] = 1
		return shares
	default:
		return g.nodes.Weights()
	}
}

// excludes tells whether a member gets no new connections.
func (g *group) excludes(m *member) bool { return !g.watch.contested && g.nodes.Excludes(m) }

// attach attaches a program, with the question that is being asked, or else the one with which the watch tells our program
// from another.
func (g *group) attach(ctx context.Context, s reuseport.Steering) error {
	if len(g.nodes.Members()) == 0 {
		return nil
	}
	if s.Mark == nil {
		s.Mark = g.mark
	}
	if s.Mark == nil {
		s.Mark = g.watch.mark(ctx, g, s.Weights)
	}
	err := g.attachSteering(ctx, s)
	g.watch.attached(err == nil)
	return err
}

// attachSteering attaches a program through whichever member does it: our own first, as it costs no message.
func (g *group) attachSteering(ctx context.Context, s reuseport.Steering) error {
	if g.sink != nil {
		return g.sink.Attach(s)
	}
	errs := errors.New("no member can attach the program")
	callable := g.callable()
	if len(callable) == 0 && len(s.Weights) == 0 {
		return nil // as it was
	}
	for i, m := range callable {
		timeout := attachTimeout
		if i == len(callable)-1 { // nobody else is left to try
			timeout = callTimeout
		}
		err := g.attachThrough(ctx, m, s, timeout)
		if err == nil {
			return nil
		}
		errs = fmt.Errorf("%w; node %d: %w", errs, m.Node.id, err)
	}
	return errs
}

// attachThrough lets one member attach a program, unless it takes too long to do it: a process that was stopped is not to
// attach an old program when it goes on.
func (g *group) attachThrough(ctx context.Context, m *member, s reuseport.Steering, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	until := g.steering.kernel.Now() + timeout
	err := m.Node.call(ctx, func(ctx context.Context, a portgroup.Agent) error { return a.Attach(ctx, g.key, s, until) })
	if errors.Is(err, context.DeadlineExceeded) {
		g.nodes.Late()
		g.watch.late = time.Now()
	}
	return err
}

// callable returns the members that can be asked: the master's own first, those that are suspect last.
func (g *group) callable() []*member {
	var first, last []*member
	for _, m := range g.nodes.Members() {
		switch {
		case m.Node == nil:
		case m.Node.IsSuspect():
			last = append(last, m)
		case m.Node.id == g.steering.self:
			first = slices.Insert(first, 0, m)
		default:
			first = append(first, m)
		}
	}
	return append(first, last...)
}

// cover steers by SO_INCOMING_CPU.
func (g *group) cover(ctx context.Context) (err error) {
	cpus := g.nodes.Cover(g.steering.kernel.OnlineCPUs())
	for i, m := range g.nodes.Members() {
		if m.Node == nil {
			continue
		}
		cpu := -1
		if cpus != nil {
			cpu = cpus[i]
		}
		callErr := m.Node.call(ctx, func(ctx context.Context, a portgroup.Agent) error { return a.SetCPU(ctx, g.key, cpu) })
		if callErr != nil && !m.Node.IsSuspect() {
			err = errline.Join(err, fmt.Errorf("node %d: %w", m.Node.id, callErr))
		}
	}
	return err
}

// wake makes all members accept once, on kernels that move the queue of a closed listener to another and wake nobody
// there.
func (g *group) wake(ctx context.Context) {
	if g.level != reuseport.RungBPFMigrate || g.steering.support.WakesMigrated {
		return
	}
	for _, m := range g.callable() {
		p := m.Node                    // it may get another one later
		g.steering.running.Go(func() { // ends within callTimeout
			_ = p.poke(ctx) // one that does not answer is found by others
		})
	}
}
