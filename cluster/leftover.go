package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// ErrLeftBehind is the error of a stop of [Supervise] after which something still listens on a port of the cluster.
var ErrLeftBehind = errors.New("the port is not free")

// leaveNothing ends the daemons that the program has left behind, when all its processes have ended, and returns an error
// that names what still listens on a port of the cluster.
func (m *master) leaveNothing(ctx context.Context) (err error) {
	if m.program == nil {
		return nil
	}
	m.program.processes.EndOrphans(ctx)
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), dyingTime)
	defer cancel()
	for _, g := range m.steering.all() {
		for _, o := range g.lastListeners(looking) {
			left := fmt.Errorf("%w: %s still listens on %v: %s", ErrLeftBehind, o, o.Addr, endCommand(o))
			m.journal.Emit(control.Event{Kind: control.EventLeftBehind, ID: -1, PID: o.PID, Text: left.Error()})
			err = errline.Join(err, left)
		}
	}
	return err
}

// lastListeners returns those that listen on the port, when no node does any more. A socket may take a moment to go: it
// waits for that until ctx ends.
func (g *group) lastListeners(ctx context.Context) []reuseport.Owner {
	var left []reuseport.Owner
	for {
		found, err := g.othersListening()
		if err == nil {
			left = found
		}
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return left
		}
	}
}

// othersListening returns the listeners of the port but our own sink. Each is there once, with one of its processes.
func (g *group) othersListening() ([]reuseport.Owner, error) {
	ctx := context.Background() // it does not wait
	listed, err := g.listed(ctx)
	if err != nil {
		return nil, err
	}
	if g.drain != nil {
		listed = slices.DeleteFunc(listed, func(inode uint32) bool { return inode == g.drain.Inode })
	}
	if len(listed) == 0 {
		return nil, nil
	}
	owners, err := reuseport.Owners(ctx, g.key.Network, g.address)
	owners = slices.DeleteFunc(owners, func(o reuseport.Owner) bool { return !o.Listening || !slices.Contains(listed, o.Inode) })
	return slices.CompactFunc(owners, func(a, b reuseport.Owner) bool { return a.Inode == b.Inode }), err
}

// endCommand says how to end a process.
func endCommand(o reuseport.Owner) string {
	if o.PID == 0 {
		return fmt.Sprintf("it is a process of uid %d", o.UID)
	}
	return fmt.Sprintf("kill %d", o.PID)
}
