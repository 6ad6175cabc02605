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
	dead    atomic.Bool                     // its process has ended

	// Of a program that does not talk to us.
	mute     bool
	obstacle string // why it cannot be steered; "": it can
}

// newHeirless returns the agent of a node that has died before this master knew it.
func newHeirless(id int) *agent {
	a := &agent{id: id}
	a.dead.Store(true)
	return a
}

// help tells a node whether to accept from the queues of others. A paused node does not.
func (a *agent) help(ctx context.Context, port portgroup.Key) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Help(ctx, port, !a.paused.Load()) })
}

// IsPaused reports whether a node is paused.
func (a *agents) IsPaused(id int) bool {
	one, err := a.get(id)
	return err == nil && one.paused.Load()
}

// IsReady reports whether the node serves, and is not paused.
func (a *agent) IsReady() bool { return a.ready.Load() && !a.paused.Load() }

// IsSuspect reports whether the node has stopped answering.
func (a *agent) IsSuspect() bool { return a.suspect.Load() || a.dead.Load() }

// call calls do with the link of a node. It returns within callTimeout, if do obeys its context.
func (a *agent) call(ctx context.Context, do func(context.Context, portgroup.Agent) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	link := a.link.Load()
	if link == nil {
		return protocol.ErrUnlinked
	}
	return do(ctx, *link)
}

// shut asks a node to close its listener.
func (a *agent) shut(ctx context.Context, port portgroup.Key) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Shut(ctx, port) })
}

// expect asks a node to watch for a probe connection.
func (a *agent) expect(ctx context.Context, port portgroup.Key, source netip.AddrPort) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error { return link.Expect(ctx, port, source) })
}

// await waits until a node has accepted a probe connection, and returns the inode of the listener in whose queue it was, 0 for the
// node's own.
func (a *agent) await(ctx context.Context, port portgroup.Key, source netip.AddrPort) (inode uint32, err error) {
	err = a.call(ctx, func(ctx context.Context, link portgroup.Agent) (err error) {
		inode, err = link.Await(ctx, port, source)
		return err
	})
	return inode, err
}

// forget ends the watch for a probe connection, and reports whether the node has accepted it.
func (a *agent) forget(ctx context.Context, port portgroup.Key, source netip.AddrPort) (came bool, err error) {
	err = a.call(ctx, func(ctx context.Context, link portgroup.Agent) (err error) {
		came, err = link.Forget(ctx, port, source)
		return err
	})
	return came, err
}

// poke waits until each accept loop of a node has run once.
func (a *agent) poke(ctx context.Context) error {
	return a.call(ctx, func(ctx context.Context, link portgroup.Agent) error {
		_, err := link.Probe(ctx)
		return err
	})
}
