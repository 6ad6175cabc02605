// Package worker is the role of a worker: it joins the other nodes, gets its port from the master, reports that it is ready, and
// leaves when the master asks it to, or when no master appears for too long.
package worker

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/masterlink"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// Config configures a worker. The fields are those of cluster.Options with their names.
type Config struct {
	Node          node.Config
	Addr          string
	Nodes         int
	AcceptPauses  bool
	OrphanTimeout time.Duration
}

// worker is the part of a node that only a worker has.
type worker struct {
	cfg       Config
	node      *node.Node // nil until it is made
	client    *masterlink.Client
	directory *rendezvous.Directory
	orphan    *time.Timer // runs while there is no master
	links     node.Links
	fail      context.CancelCauseFunc // keeps the node from being made
	made      chan struct{}           // closed when the node is
	closed    chan struct{}           // closed when the node has ended, or cannot be made

	mu      sync.Mutex
	brief   bool // the whole cluster stops; guarded by mu
	leaving bool // guarded by mu
}

// Start makes this process the worker that its master has started in a role.
func Start(ctx context.Context, c Config, r boot.Role) (_ *node.Node, err error) {
	if err := node.EnoughDescriptors(c.Nodes, false, c.Node.Sharing); err != nil {
		return nil, err
	}
	directory, err := rendezvous.Open(r.Directory)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errline.Join(err, directory.Close())
		}
	}()
	if locked, err := directory.Locked(); err != nil || !locked {
		return nil, errline.Join(masterlink.ErrNoMaster, err)
	}
	// Linked first, for no connection is to wait for a share of the port whose node is still to be linked.
	links, err := node.Join(ctx, c.Node.Logger, r.Info(), inside.Options{Directory: directory}, c.Node.Sharing, c.Node.BootTimeout)
	if err != nil {
		return nil, err
	}
	w := &worker{cfg: c, directory: directory, links: links, made: make(chan struct{}), closed: make(chan struct{})}
	listeners := local.New(c.AcceptPauses, links.Sharer())
	w.client = masterlink.New(masterlink.Config{Listeners: listeners, Cut: links.Cut, Stop: w.toldToStop, Alone: w.alone})
	n, err := w.takePlace(ctx, listeners, r)
	if err != nil {
		w.client.Close()
		close(w.closed)
		w.orphan.Stop()
		return nil, errline.Join(errline.Join(err, listeners.Close()), links.Close())
	}
	return n, nil
}

// takePlace has the port reserved, and makes the node.
func (w *worker) takePlace(ctx context.Context, listeners *local.Listeners, r boot.Role) (*node.Node, error) {
	ctx, w.fail = context.WithCancelCause(ctx)
	defer w.fail(nil)
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Node.BootTimeout)
	defer cancel()
	w.orphan = time.AfterFunc(w.cfg.OrphanTimeout, func() { w.stop(masterlink.ErrNoMaster, w.cfg.Node.StopTimeout) })
	if _, err := w.links.Mesh.OnStream(protocol.Stream, masterlink.IsMaster, func(s *peer.Stream) { w.client.ServeLink(s, s.Peer()) }); err != nil {
		return nil, err
	}
	key := r.Port
	if key == (portgroup.Key{}) { // the master does not know our port
		key = portgroup.Key{Network: "tcp", Address: w.cfg.Addr}
	}
	addr, err := w.client.Address(ctx, key)
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	w.node = node.New(w.cfg.Node, w.links, listeners, key, addr)
	listeners.SteerBy(w.client)
	close(w.made)
	w.node.Start(node.Role{Stop: w.end, Left: w.left})
	go w.tellReady(r.Stderr)
	return w.node, nil
}

// stop begins to end the node, or keeps it from being made.
func (w *worker) stop(cause error, timeout time.Duration) {
	w.fail(cmp.Or(cause, control.ErrStopping)) // while there is no node yet
	go func() {                                // ends when the node is made, or fails to be
		select {
		case <-w.made:
			w.node.Stop(cause, timeout)
		case <-w.closed:
		}
	}()
}

// tellReady waits until the node is ready, and reports it to the master. It is a goroutine that ends with the node.
func (w *worker) tellReady(stderr uintptr) {
	if !w.node.Await(w.node.OwnReadiness()) {
		return
	}
	if err := proc.RestoreStderr(stderr); err != nil {
		w.cfg.Node.Logger.Warn("standard error stays a pipe to the master", "error", err)
	}
	w.client.MarkReady()
}

func (w *worker) toldToStop(s protocol.Stop) {
	w.mu.Lock()
	w.brief, w.leaving = s.All, true
	w.mu.Unlock()
	w.stop(nil, s.Timeout)
}

// alone starts the time that a worker has without a master.
func (w *worker) alone(is bool) {
	w.mu.Lock()
	leaving := w.leaving
	w.mu.Unlock()
	switch {
	case !is:
		w.orphan.Stop()
	case !leaving:
		self := w.links.Mesh.Self()
		w.cfg.Node.Logger.Warn("the master is gone: serving on for a while",
			"id", self.ID, "slot", self.Slot, "leaving_in", w.cfg.OrphanTimeout)
		w.orphan.Reset(w.cfg.OrphanTimeout)
	}
}

// end stops the servers, and leaves the mesh.
func (w *worker) end(cause error) error {
	w.report(cause)
	err := w.node.EndServing(w.node.Stopping(), w.lameDuck())
	err = errline.Join(err, w.node.CloseListeners())
	err = errline.Join(err, w.links.Close())
	w.client.Close()
	close(w.closed)
	w.orphan.Stop()
	return errline.Join(err, w.directory.Close())
}

// reportTimeout bounds how long a node that ends waits until its master knows why.
const reportTimeout = time.Second

// report sends the reason for the node's end to the master, if there are both.
func (w *worker) report(cause error) {
	if cause == nil || errors.Is(cause, masterlink.ErrNoMaster) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	// An error is left alone: the master sees the exit anyway.
	_ = w.client.Ask(ctx, func(ctx context.Context, m protocol.Master) error { return m.Failed(ctx, cause.Error()) })
}

// lameDuck returns how long idle connections may stay open.
func (w *worker) lameDuck() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = true
	if w.brief {
		return w.cfg.Node.BriefLameDuck()
	}
	return w.cfg.Node.LameDuck
}

// left reports to the master that this node has left its ports.
func (w *worker) left(took time.Duration) {
	w.client.Tell(func(m protocol.Master) error { return m.Drained(protocol.Drained{Took: took}) })
}
