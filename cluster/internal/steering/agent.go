package steering

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
)

// How long the master waits for a node.
const (
	callTimeout   = 2 * time.Second        // for an answer that costs a system call
	attachTimeout = 200 * time.Millisecond // for the same, when another member can do it
	quickTimeout  = 50 * time.Millisecond  // for an agent that is well
	probeTimeout  = 500 * time.Millisecond // for the node that has accepted a probe, from its connect
)

// member is a listener in the group of a port, or a hole.
type member = portgroup.Member[*agent]

// agent is the master's record of a node.
type agent struct {
	id      int
	pid     int
	link    atomic.Pointer[portgroup.Agent] // nil: it is not linked
	ready   atomic.Bool                     // it serves
	suspect atomic.Bool                     // it does not answer
	paused  atomic.Bool                     // it is to get no new connections

	// Of a program that does not talk to us.
	mute     bool
	obstacle string // why it cannot be steered; "": it can
}

// Pause lets a node get no new connections, or lets it have them again. Paused nodes get connections all the same when no other node
// does.
func (a *agents) Pause(id int, is bool) {
	if one, err := a.get(id); err == nil {
		one.paused.Store(is)
		a.changed()
	}
}

// IsPaused tells whether a node is to get no new connections.
func (a *agents) IsPaused(id int) bool {
	one, err := a.get(id)
	return err == nil && one.paused.Load()
}

// IsReady tells whether the node serves, and is to get connections.
func (a *agent) IsReady() bool { return a.ready.Load() && !a.paused.Load() }

// IsSuspect tells whether it does not answer.
func (a *agent) IsSuspect() bool { return a.suspect.Load() }

// call lets a node do something.
func (a *agent) call(ctx context.Context, do func(context.Context, portgroup.Agent) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	link := a.link.Load()
	if link == nil {
		return protocol.ErrUnlinked
	}
	return do(ctx, *link)
}

// shut lets a node close its listener.
func (a *agent) shut(ctx context.Context, port portgroup.Key) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Shut(ctx, port) })
}

// expect lets a node watch for a probe connection.
func (a *agent) expect(ctx context.Context, port portgroup.Key, source netip.AddrPort) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Expect(ctx, port, source) })
}

// await waits until a node has accepted a probe connection.
func (a *agent) await(ctx context.Context, port portgroup.Key, source netip.AddrPort) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Await(ctx, port, source) })
}

// forget lets a node watch for a probe connection no more.
func (a *agent) forget(ctx context.Context, port portgroup.Key, source netip.AddrPort) (came bool, err error) {
	err = a.call(ctx, func(ctx context.Context, link portgroup.Agent) (err error) {
		came, err = link.Forget(ctx, port, source)
		return err
	})
	return came, err
}

// poke lets the accept loops of a node pass.
func (a *agent) poke(ctx context.Context) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error {
		_, err := link.Probe(ctx)
		return err
	})
}
