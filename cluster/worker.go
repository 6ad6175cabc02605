package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

// errOrphaned is why a worker ends whose master is gone.
var errOrphaned = errors.New("the master is gone")

// upstream is a worker's side of the control stream: what it tells its master and asks it.
type upstream struct {
	node      *Node
	directory *peer.Directory
	orphan    *time.Timer // runs while there is no link

	mu      sync.Mutex // guards what follows
	link    *link      // nil while there is none
	linked  chan struct{}
	isReady bool
	seq     int
	asked   map[int]chan<- message // by Seq; each has room for the answer
}

// listenWorker makes this process the worker that its master has started.
func listenWorker(opts Options, server Server, r role) (_ *Node, err error) {
	directory, err := peer.OpenDirectory(r.Directory)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = join(err, directory.Close())
		}
	}()
	if locked, err := directory.Locked(); err != nil || !locked {
		return nil, join(errOrphaned, err)
	}
	// Linked first, for no connection is to wait for a share of the port whose node is still to be linked.
	links, err := joinLinks(opts, peer.Options{Directory: directory, Self: r.info()}, opts.BootTimeout)
	if err != nil {
		return nil, err
	}
	listener, err := reuseport.Listen(context.Background(), "tcp", r.Address, reuseport.Options{})
	if err != nil {
		return nil, join(err, links.close())
	}
	n := newNode(opts, links, server, listener)
	u := &upstream{
		node: n, directory: directory,
		linked: make(chan struct{}), asked: make(map[int]chan<- message),
	}
	n.worker, n.resolve = u, u.address
	u.orphan = time.AfterFunc(opts.OrphanTimeout, u.leaveOrphaned)
	if _, err := links.mesh.OnStream(controlStream, r.isMaster, u.serveLink); err != nil {
		u.orphan.Stop()
		return nil, join(join(err, listener.Close()), links.close())
	}
	n.start()
	go u.tellReady(r.Stderr)
	return n, nil
}

// isMaster chooses the node that has the other end of our control stream: the master that has started us.
func (r role) isMaster(info peer.Info) bool { return info.Incarnation == r.Master }

// tellReady waits until the node is ready, and tells the master. It is a goroutine that ends with the node.
func (u *upstream) tellReady(stderr uintptr) {
	for _, ready := range u.node.readiness() {
		select {
		case <-ready:
		case <-u.node.done:
			return
		}
	}
	if err := restoreStderr(stderr); err != nil {
		u.node.opts.Logger.Warn("standard error stays a pipe to the master", "error", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.isReady = true
	if u.link != nil {
		_ = u.link.send(message{Kind: kindReady}) // an error ends the link; the next one is told again
	}
}

// serveLink is the worker's end of a control stream: it returns when the stream has ended.
func (u *upstream) serveLink(stream *peer.Stream) {
	l := newLink(stream)
	u.attach(l)
	defer u.detach(l)
	err := l.serve(func(m message) {
		switch m.Kind {
		case kindStop:
			u.node.stop(nil, m.Timeout)
		case kindAnswer:
			u.deliver(m)
		case kindReady, kindFailed, kindListen: // not for a worker
		}
	})
	if err != nil {
		u.node.links.mesh.Cut(stream.Peer(), err.Error())
	}
}

func (u *upstream) attach(l *link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.orphan.Stop()
	if u.link == nil { // else the master has dialed again before we saw the end of the stream before
		close(u.linked)
	}
	u.link = l
	if u.isReady {
		_ = l.send(message{Kind: kindReady}) // an error ends the link
	}
}

// detach starts the time that a worker has without a master.
func (u *upstream) detach(l *link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.link != l {
		return
	}
	u.link, u.linked = nil, make(chan struct{})
	if !u.node.isStopping() {
		u.node.opts.Logger.Warn("the master is gone: serving on for a while",
			"id", u.node.ID(), "slot", u.node.Slot(), "leaving_in", u.node.opts.OrphanTimeout)
		u.orphan.Reset(u.node.opts.OrphanTimeout)
	}
}

func (u *upstream) leaveOrphaned() { u.node.stop(errOrphaned, u.node.opts.StopTimeout) }

func (u *upstream) close() error {
	u.orphan.Stop()
	return u.directory.Close()
}

// reportTimeout bounds how long a node that ends waits until its master knows why.
const reportTimeout = time.Second

// report tells the master why the node ends, if there is a reason and a master.
func (u *upstream) report(cause error) {
	if cause == nil || errors.Is(cause, errOrphaned) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	_, _ = u.ask(ctx, message{Kind: kindFailed, Error: cause.Error()}) // it will see the exit anyway
}

// address asks the master for the address of the port that key names.
func (u *upstream) address(ctx context.Context, key portKey) (string, error) {
	answer, err := u.ask(ctx, message{Kind: kindListen, Port: &key})
	if err != nil {
		return "", &net.OpError{Op: "listen", Net: key.Network, Err: fmt.Errorf("ask the master for the port: %w", err)}
	}
	if answer.Error != "" {
		return "", &masterError{text: answer.Error, errno: syscall.Errno(answer.Errno)}
	}
	return answer.Address, nil
}

// ask sends a question as soon as there is a link, and waits for the answer.
func (u *upstream) ask(ctx context.Context, question message) (message, error) {
	l, err := u.awaitLink(ctx)
	if err != nil {
		return message{}, err
	}
	answers := make(chan message, 1)
	u.mu.Lock()
	u.seq++
	question.Seq = u.seq
	u.asked[question.Seq] = answers
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.asked, question.Seq)
	}()
	if err := l.send(question); err != nil {
		return message{}, err
	}
	select {
	case answer := <-answers:
		return answer, nil
	case <-l.ended:
		return message{}, errOrphaned
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
}

func (u *upstream) awaitLink(ctx context.Context) (*link, error) {
	for {
		u.mu.Lock()
		l, linked := u.link, u.linked
		u.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-linked:
		case <-u.node.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (u *upstream) deliver(answer message) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if answers := u.asked[answer.Seq]; answers != nil {
		answers <- answer
		delete(u.asked, answer.Seq)
	}
}
