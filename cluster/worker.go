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
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// upstream is a worker's side of the control stream: what it tells its master and asks it. It is the keeper of its
// groups.
type upstream struct {
	opts      Options
	mesh      *peer.Mesh
	seats     *seats
	directory *rendezvous.Directory
	orphan    *time.Timer   // runs while there is no link; nil in a master that has handed over
	held      []seatInfo    // ports that a master has handed over, whether or not it listens there
	forget    func()        // takes back that we want the stream
	closed    chan struct{} // closed when the node ends
	stop      func(cause error, timeout time.Duration)

	mu       sync.Mutex    // guards what follows
	links    []*link       // the last is the master's; those before end when theirs is gone
	linked   chan struct{} // closed while there is a link
	attached chan struct{} // closed at the next link
	isReady  bool
	brief    bool // the whole cluster stops
	leaving  bool
}

var _ keeper = (*upstream)(nil)

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
	u := newUpstream(opts, links.mesh, newSeats(opts))
	u.directory = directory
	n, err := u.takeSeat(ctx, links, r)
	if err != nil {
		close(u.closed)
		if u.orphan != nil {
			u.orphan.Stop()
		}
		return nil, errline.Join(errline.Join(err, u.seats.close()), links.close())
	}
	return n, nil
}

func newUpstream(opts Options, mesh *peer.Mesh, seats *seats) *upstream {
	return &upstream{opts: opts, mesh: mesh, seats: seats, closed: make(chan struct{}), linked: make(chan struct{}), attached: make(chan struct{})}
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
	if _, err := links.mesh.OnStream(controlStream, isMaster, u.serveLink); err != nil {
		return nil, err
	}
	key := r.Port
	if key == (portKey{}) { // the master does not know our port
		key = portKey{Network: "tcp", Address: u.opts.Addr}
	}
	addr, err := u.address(ctx, key)
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	n = newNode(u.opts, links, u.seats, key, addr)
	n.worker = u
	n.keeper.set(u)
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
	u.tell(message{Kind: kindReady}) // if there is no link, the next one is told
}

// serveLink is the worker's end of a control stream: it returns when the stream has ended.
func (u *upstream) serveLink(stream *peer.Stream) {
	l := newLink(stream)
	l.rank = stream.Peer().Generation
	u.attach(l)
	defer u.detach(l)
	err := l.serve(u.told, u.seats.answer)
	if err != nil {
		inside.Of(u.mesh).Cut(stream.Peer(), err.Error())
	}
}

func (u *upstream) told(m message) {
	if m.Kind == kindStop {
		u.mu.Lock()
		u.brief, u.leaving = m.All, true
		u.mu.Unlock()
		u.stop(nil, m.Timeout)
	}
}

func (u *upstream) attach(l *link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.orphan != nil {
		u.orphan.Stop()
	}
	if len(u.links) == 0 {
		close(u.linked)
	}
	u.links = append(u.links, l)
	slices.SortStableFunc(u.links, func(a, b *link) int { return a.rank - b.rank }) // a successor goes before who it succeeds
	close(u.attached)
	u.attached = make(chan struct{})
	hello := message{Kind: kindHello, Ready: u.isReady, Seats: append(u.seats.infos(), u.held...)}
	_ = l.send(hello) // an error ends the link
}

// detach starts the time that a worker has without a master.
func (u *upstream) detach(l *link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.links = slices.DeleteFunc(u.links, func(o *link) bool { return o == l })
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
	_, _ = u.ask(ctx, message{Kind: kindFailed, Error: cause.Error()}) // it will see the exit anyway
}

// tell tells the master something, if there is one, and in a takeover both: either may be the master soon.
func (u *upstream) tell(m message) {
	u.mu.Lock()
	links := slices.Clone(u.links)
	u.mu.Unlock()
	for _, l := range links {
		_ = l.send(m) // an error ends the link
	}
}

// address has a port reserved, and returns its address.
func (u *upstream) address(ctx context.Context, key portKey) (net.Addr, error) {
	answer, err := u.askForPort(ctx, kindReserve, key)
	remote, told := errors.AsType[*remoteError](err)
	switch {
	case err == nil:
		return net.ResolveTCPAddr(key.Network, answer.Address)
	case !told || remote.errno != 0:
		return nil, err
	}
	// A master of an older version does not know the question; to join is one that it knows.
	if err := u.join(ctx, key); err != nil {
		return nil, err
	}
	one, err := u.seats.get(key)
	if err != nil {
		return nil, err
	}
	return one.listener.Addr(), nil
}

func (u *upstream) join(ctx context.Context, key portKey) error {
	_, err := u.askForPort(ctx, kindJoin, key)
	if _, notOpen := u.seats.get(key); err != nil && notOpen == nil {
		if _, told := errors.AsType[*remoteError](err); !told {
			return nil // the master died when we listened already: what has come is ours, and the next one learns of it
		}
	}
	return err
}

// askForPort asks the master about a port for which this node does not listen yet. There may be no master for a while.
func (u *upstream) askForPort(ctx context.Context, kind kind, key portKey) (answer message, err error) {
	for again := true; again; { // a master may have handed over in this moment
		if err := u.awaitLink(ctx); err != nil {
			return message{}, err
		}
		answer, err = u.ask(ctx, message{Kind: kind, Port: &key})
		_, notOpen := u.seats.get(key)
		if again = notOpen != nil && (errors.Is(err, errUnlinked) || errors.Is(err, ErrOrphaned)); again {
			time.Sleep(joinInterval)
		}
	}
	if _, told := errors.AsType[*remoteError](err); err != nil && !told {
		err = &net.OpError{Op: "listen", Net: key.Network, Err: fmt.Errorf("ask the master for the port: %w", err)}
	}
	return answer, err
}

func (u *upstream) exclude(ctx context.Context, key portKey) (epoch int, later bool, err error) {
	answer, err := u.ask(ctx, message{Kind: kindExclude, Port: &key})
	return answer.Epoch, answer.Again, err
}

func (u *upstream) leave(ctx context.Context, key portKey, epoch int) (bool, error) {
	answer, err := u.ask(ctx, message{Kind: kindLeave, Port: &key, Epoch: epoch})
	return answer.Again, err
}

// ask asks the master, if there is one. When another master takes over, or gives back, before the answer has come, that one
// is asked.
func (u *upstream) ask(ctx context.Context, question message) (message, error) {
	for {
		l := u.current()
		if l == nil {
			return message{}, ErrOrphaned
		}
		answer, err := u.askThrough(ctx, l, question)
		if !errors.Is(err, errUnlinked) || u.current() == nil || ctx.Err() != nil {
			return answer, err
		}
	}
}

// askThrough asks the master at the other end of l. Its error is errUnlinked when that is the master no more.
func (u *upstream) askThrough(ctx context.Context, l *link, question message) (message, error) {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go u.awaitOther(asking, l, func() { cancel(errUnlinked) })
	answer, err := l.ask(asking, question)
	switch {
	case errors.Is(err, errUnlinked): // the stream is broken, and about to end
		select {
		case <-l.ended:
		case <-ctx.Done():
		}
	case err != nil && errors.Is(context.Cause(asking), errUnlinked):
		return answer, errUnlinked
	}
	return answer, err
}

// awaitOther calls found when not l, but another link is that to the master. It is a goroutine that ends with ctx.
func (u *upstream) awaitOther(ctx context.Context, l *link, found func()) {
	for {
		u.mu.Lock()
		attached := u.attached
		u.mu.Unlock()
		if u.current() != l {
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

// current returns the link to the master, nil if there is none.
func (u *upstream) current() *link {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range slices.Backward(u.links) {
		if !isClosed(l.ended) {
			return l
		}
	}
	return nil
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
