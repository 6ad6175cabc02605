package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// upstream is a worker's side of the control stream: what it tells its master and asks it.
type upstream struct {
	opts      Options
	mesh      *peer.Mesh
	listeners *local.Listeners
	directory *rendezvous.Directory
	orphan    *time.Timer         // runs while there is no link; nil in a master that has handed over
	held      []protocol.Listener // ports that a master has handed over, whether or not it listens there
	forget    func()              // takes back that we want the stream
	closed    chan struct{}       // closed when the node ends
	stop      func(cause error, timeout time.Duration)

	mu       sync.Mutex    // guards what follows
	links    []toMaster    // the last is the master's; those before end when theirs is gone
	linked   chan struct{} // closed while there is a link
	attached chan struct{} // closed at the next link
	isReady  bool
	brief    bool // the whole cluster stops
	leaving  bool
}

var _ protocol.Steerer = (*upstream)(nil)

// toMaster is the control stream to a master.
type toMaster struct {
	protocol.Master
	generation int // of the master
}

// startWorker makes this process the worker that its master has started.
func startWorker(ctx context.Context, opts Options, r boot.Role) (_ *Node, err error) {
	if err := enoughDescriptors(opts.Nodes, false); err != nil {
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
		return nil, errline.Join(ErrOrphaned, err)
	}
	// Linked first, for no connection is to wait for a share of the port whose node is still to be linked.
	links, err := joinLinks(ctx, opts, r.Info(), inside.Options{Directory: directory}, opts.BootTimeout)
	if err != nil {
		return nil, err
	}
	u := newUpstream(opts, links.mesh, local.New(opts.AcceptPauses))
	u.directory = directory
	n, err := u.takeSeat(ctx, links, r)
	if err != nil {
		close(u.closed)
		if u.orphan != nil {
			u.orphan.Stop()
		}
		return nil, errline.Join(errline.Join(err, u.listeners.Close()), links.close())
	}
	return n, nil
}

func newUpstream(opts Options, mesh *peer.Mesh, listeners *local.Listeners) *upstream {
	return &upstream{opts: opts, mesh: mesh, listeners: listeners, closed: make(chan struct{}), linked: make(chan struct{}), attached: make(chan struct{})}
}

// takeSeat reserves the port, and makes the node.
func (u *upstream) takeSeat(ctx context.Context, links links, r boot.Role) (*Node, error) {
	var n *Node
	made := make(chan struct{}) // closed when n is there
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	ctx, cancel := context.WithTimeout(ctx, u.opts.BootTimeout)
	defer cancel()
	u.stop = func(cause error, timeout time.Duration) {
		fail(cmp.Or(cause, ErrStopping)) // while there is no node yet
		go func() {                      // ends when the node is made, or fails to be
			select {
			case <-made:
				n.stop(cause, timeout)
			case <-u.closed:
			}
		}()
	}
	u.orphan = time.AfterFunc(u.opts.OrphanTimeout, func() { u.stop(ErrOrphaned, u.opts.StopTimeout) })
	if _, err := links.mesh.OnStream(protocol.Stream, isMaster, u.serveLink); err != nil {
		return nil, err
	}
	key := r.Port
	if key == (portgroup.Key{}) { // the master does not know our port
		key = portgroup.Key{Network: "tcp", Address: u.opts.Addr}
	}
	addr, err := u.address(ctx, key)
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	n = newNode(u.opts, links, u.listeners, key, addr)
	n.worker = u
	u.listeners.SteerBy(u)
	close(made)
	n.start()
	go u.tellReady(n, r.Stderr)
	return n, nil
}

// isMaster chooses the node that has the other end of our control stream. Guests have slot 0, too, and no generation.
func isMaster(info peer.Info) bool { return info.Slot == 0 && info.Generation > 0 }

// tellReady waits until the node is ready, and tells the master. It is a goroutine that ends with the node.
func (u *upstream) tellReady(n *Node, stderr uintptr) {
	if !n.await(n.readiness()) {
		return
	}
	if err := proc.RestoreStderr(stderr); err != nil {
		u.opts.Logger.Warn("standard error stays a pipe to the master", "error", err)
	}
	u.mu.Lock()
	u.isReady = true
	u.mu.Unlock()
	u.tell(protocol.Master.Ready) // if there is no link, the next one is told
}

// serveLink is the worker's end of a control stream: it returns when the stream has ended.
func (u *upstream) serveLink(stream *peer.Stream) {
	l := toMaster{protocol.NewMaster(stream), stream.Peer().Generation}
	u.attach(l)
	defer u.detach(l)
	if err := l.Serve(u.listeners, u.toldToStop); err != nil {
		inside.Of(u.mesh).Cut(stream.Peer(), err.Error())
	}
}

func (u *upstream) toldToStop(s protocol.Stop) {
	u.mu.Lock()
	u.brief, u.leaving = s.All, true
	u.mu.Unlock()
	u.stop(nil, s.Timeout)
}

func (u *upstream) attach(l toMaster) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.orphan != nil {
		u.orphan.Stop()
	}
	if len(u.links) == 0 {
		close(u.linked)
	}
	u.links = append(u.links, l)
	slices.SortStableFunc(u.links, func(a, b toMaster) int { return a.generation - b.generation }) // a successor goes before who it succeeds
	close(u.attached)
	u.attached = make(chan struct{})
	_ = l.Hello(protocol.Hello{Ready: u.isReady, Listeners: append(u.listeners.Infos(), u.held...)}) // an error ends the link
}

// detach starts the time that a worker has without a master.
func (u *upstream) detach(l toMaster) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.links = slices.DeleteFunc(u.links, func(o toMaster) bool { return o == l })
	if len(u.links) > 0 {
		return
	}
	u.linked = make(chan struct{})
	if !u.leaving && u.orphan != nil {
		self := u.mesh.Self()
		u.opts.Logger.Warn("the master is gone: serving on for a while",
			"id", self.ID, "slot", self.Slot, "leaving_in", u.opts.OrphanTimeout)
		u.orphan.Reset(u.opts.OrphanTimeout)
	}
}

// lameDuck returns how long idle connections may stay open.
func (u *upstream) lameDuck() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leaving = true
	if u.brief {
		return min(u.opts.LameDuck, briefLameDuck)
	}
	return u.opts.LameDuck
}

func (u *upstream) close() error {
	close(u.closed)
	u.orphan.Stop()
	return u.directory.Close()
}

// joinInterval is the time between two questions to masters that have gone.
const joinInterval = 5 * time.Millisecond

// reportTimeout bounds how long a node that ends waits until its master knows why.
const reportTimeout = time.Second

// report tells the master why the node ends, if there is a reason and a master.
func (u *upstream) report(cause error) {
	if cause == nil || errors.Is(cause, ErrOrphaned) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	_ = u.ask(ctx, func(ctx context.Context, m protocol.Master) error { return m.Failed(ctx, cause.Error()) }) // it will see the exit anyway
}

// tell tells the master something, if there is one, and in a takeover both: either may be the master soon.
func (u *upstream) tell(what func(protocol.Master) error) {
	u.mu.Lock()
	links := slices.Clone(u.links)
	u.mu.Unlock()
	for _, l := range links {
		_ = what(l.Master) // an error ends the link
	}
}

// address has a port reserved, and returns its address.
func (u *upstream) address(ctx context.Context, port portgroup.Key) (net.Addr, error) {
	address, err := u.Reserve(ctx, port)
	remote, told := errors.AsType[*protocol.RemoteError](err)
	switch {
	case err == nil:
		return net.ResolveTCPAddr(port.Network, address)
	case !told || remote.Errno != 0:
		return nil, err
	}
	// A master of an older version does not know the question; to join is one that it knows.
	if err := u.Join(ctx, port); err != nil {
		return nil, err
	}
	one, err := u.listeners.Get(port)
	if err != nil {
		return nil, err
	}
	return one.Addr(), nil
}

// Reserve reserves a port.
func (u *upstream) Reserve(ctx context.Context, port portgroup.Key) (address string, err error) {
	err = u.askForPort(ctx, port, func(ctx context.Context, m protocol.Master) (err error) {
		address, err = m.Reserve(ctx, port)
		return err
	})
	return address, err
}

// Join joins the group of a port.
func (u *upstream) Join(ctx context.Context, port portgroup.Key) error {
	err := u.askForPort(ctx, port, func(ctx context.Context, m protocol.Master) error { return m.Join(ctx, port) })
	if _, notOpen := u.listeners.Get(port); err != nil && notOpen == nil {
		if _, told := errors.AsType[*protocol.RemoteError](err); !told {
			return nil // the master died when we listened already: what has come is ours, and the next one learns of it
		}
	}
	return err
}

// askForPort asks the master about a port for which this node does not listen yet. There may be no master for a while.
func (u *upstream) askForPort(ctx context.Context, port portgroup.Key, question func(context.Context, protocol.Master) error) (err error) {
	for again := true; again; { // a master may have handed over in this moment
		if err := u.awaitLink(ctx); err != nil {
			return err
		}
		err = u.ask(ctx, question)
		_, notOpen := u.listeners.Get(port)
		if again = notOpen != nil && (errors.Is(err, protocol.ErrUnlinked) || errors.Is(err, ErrOrphaned)); again {
			time.Sleep(joinInterval)
		}
	}
	if _, told := errors.AsType[*protocol.RemoteError](err); err != nil && !told {
		err = &net.OpError{Op: "listen", Net: port.Network, Err: fmt.Errorf("ask the master for the port: %w", err)}
	}
	return err
}

// Exclude asks for no new connections.
func (u *upstream) Exclude(ctx context.Context, port portgroup.Key) (epoch int, later bool, err error) {
	err = u.ask(ctx, func(ctx context.Context, m protocol.Master) (err error) {
		epoch, later, err = m.Exclude(ctx, port)
		return err
	})
	return epoch, later, err
}

// Leave leaves the group of a port.
func (u *upstream) Leave(ctx context.Context, port portgroup.Key, epoch int) (again bool, err error) {
	err = u.ask(ctx, func(ctx context.Context, m protocol.Master) (err error) {
		again, err = m.Leave(ctx, port, epoch)
		return err
	})
	return again, err
}

// ask asks the master, if there is one. When another master takes over, or gives back, before the answer has come, that one
// is asked.
func (u *upstream) ask(ctx context.Context, question func(context.Context, protocol.Master) error) error {
	for {
		l, ok := u.current()
		if !ok {
			return ErrOrphaned
		}
		err := u.askThrough(ctx, l, question)
		if _, ok := u.current(); !errors.Is(err, protocol.ErrUnlinked) || !ok || ctx.Err() != nil {
			return err
		}
	}
}

// askThrough asks the master at the other end of l. Its error is ErrUnlinked when that is the master no more.
func (u *upstream) askThrough(ctx context.Context, l toMaster, question func(context.Context, protocol.Master) error) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go u.awaitOther(asking, l, func() { cancel(protocol.ErrUnlinked) })
	err := question(asking, l.Master)
	switch {
	case errors.Is(err, protocol.ErrUnlinked): // the stream is broken, and about to end
		select {
		case <-l.Ended():
		case <-ctx.Done():
		}
	case err != nil && errors.Is(context.Cause(asking), protocol.ErrUnlinked):
		return protocol.ErrUnlinked
	}
	return err
}

// awaitOther calls found when not l, but another link is that to the master. It is a goroutine that ends with ctx.
func (u *upstream) awaitOther(ctx context.Context, l toMaster, found func()) {
	for {
		u.mu.Lock()
		attached := u.attached
		u.mu.Unlock()
		if now, ok := u.current(); !ok || now != l {
			found()
			return
		}
		select {
		case <-attached:
		case <-ctx.Done():
			return
		}
	}
}

// current returns the link to the master, if there is one.
func (u *upstream) current() (l toMaster, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range slices.Backward(u.links) {
		if !isClosed(l.Ended()) {
			return l, true
		}
	}
	return toMaster{}, false
}

// awaitLink waits until there is a master.
func (u *upstream) awaitLink(ctx context.Context) error {
	u.mu.Lock()
	linked := u.linked
	u.mu.Unlock()
	select {
	case <-linked:
		return nil
	case <-u.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
