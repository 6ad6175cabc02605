// Package masterlink carries the messages and requests of a node to its master. In a takeover there are two masters for a while:
// a request goes to the one that will answer.
package masterlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/peer"
)

// ErrNoMaster is the error of a request that there is no master for.
var ErrNoMaster = errors.New("the master is gone")

// Config configures a Client.
type Config struct {
	Listeners Listeners
	Cut       func(p peer.Info, reason string) // ends the link to a peer that has broken the protocol
	Held      []protocol.Listener              // ports that a master has handed over, whether or not it listens there
	Stop      func(protocol.Stop)              // is called when the master wants this node to stop; nil: no master does
	Alone     func(is bool)                    // is called when there is no master, and when there is one again; nil: not called
}

// Listeners are those of this process.
type Listeners interface {
	portgroup.Agent
	// Infos describes each listener.
	Infos() []protocol.Listener
}

// Client is a node's end of its control streams. All methods may be called at the same time.
type Client struct {
	cfg    Config
	closed chan struct{} // closed when the node ends

	mu       sync.Mutex    // guards what follows
	links    []link        // the last is the master's; those before end when theirs is gone
	linked   chan struct{} // closed while there is a link
	attached chan struct{} // closed at the next link
	isReady  bool
}

var _ protocol.Steerer = (*Client)(nil)

// link is the control stream to a master.
type link struct {
	protocol.Master
	generation int // of the master
}

// New returns a Client that has no link.
func New(c Config) *Client {
	return &Client{cfg: c, closed: make(chan struct{}), linked: make(chan struct{}), attached: make(chan struct{})}
}

// IsMaster chooses the node that has the other end of a control stream. Guests have slot 0, too, and no generation.
func IsMaster(info peer.Info) bool { return info.Slot == 0 && info.Generation > 0 }

// Close ends the wait for a master.
func (c *Client) Close() { close(c.closed) }

// MarkReady reports to the master that the node serves, and to each later master as well.
func (c *Client) MarkReady() {
	c.mu.Lock()
	c.isReady = true
	c.mu.Unlock()
	c.Tell(protocol.Master.Ready) // without a link, the next one reports it
}

// ServeLink is the worker's end of a control stream to a master: it returns when the stream has ended.
func (c *Client) ServeLink(stream io.ReadWriteCloser, master peer.Info) {
	l := link{protocol.NewMaster(stream), master.Generation}
	c.attach(l)
	defer c.detach(l)
	if err := l.Serve(c.cfg.Listeners, c.cfg.Stop); err != nil {
		c.cfg.Cut(master, err.Error())
	}
}

func (c *Client) attach(l link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) == 0 {
		close(c.linked)
		c.alone(false)
	}
	c.links = append(c.links, l)
	slices.SortStableFunc(c.links, func(a, b link) int { return a.generation - b.generation }) // the newest master is the last
	close(c.attached)
	c.attached = make(chan struct{})
	_ = l.Hello(protocol.Hello{Ready: c.isReady, Listeners: append(c.cfg.Listeners.Infos(), c.cfg.Held...)}) // an error ends the link
}

// detach notes that a link has ended.
func (c *Client) detach(l link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links = slices.DeleteFunc(c.links, func(o link) bool { return o == l })
	if len(c.links) > 0 {
		return
	}
	c.linked = make(chan struct{})
	c.alone(true)
}

func (c *Client) alone(is bool) {
	if c.cfg.Alone != nil {
		c.cfg.Alone(is)
	}
}

// Tell sends a message to the master, if there is one, and in a takeover to both: either may be the master soon.
func (c *Client) Tell(what func(protocol.Master) error) {
	c.mu.Lock()
	links := slices.Clone(c.links)
	c.mu.Unlock()
	for _, l := range links {
		_ = what(l.Master) // an error ends the link
	}
}

// Address has a port reserved, and returns its address.
func (c *Client) Address(ctx context.Context, port portgroup.Key) (net.Addr, error) {
	address, err := c.Reserve(ctx, port)
	remote, told := errors.AsType[*protocol.RemoteError](err)
	switch {
	case err == nil:
		return net.ResolveTCPAddr(port.Network, address)
	case !told || remote.Errno != 0:
		return nil, err
	}
	// A master of an older version does not know the request, but it knows Join.
	if err := c.Join(ctx, port); err != nil {
		return nil, err
	}
	address, listens := c.listens(port)
	if !listens {
		return nil, net.ErrClosed
	}
	return net.ResolveTCPAddr(port.Network, address)
}

// listens returns the address of a port, and whether this process listens there.
func (c *Client) listens(port portgroup.Key) (address string, listens bool) {
	for _, l := range c.cfg.Listeners.Infos() {
		if l.Port == port {
			return l.Address, true
		}
	}
	return "", false
}

// Reserve reserves a port.
func (c *Client) Reserve(ctx context.Context, port portgroup.Key) (address string, err error) {
	err = c.askForPort(ctx, port, func(ctx context.Context, m protocol.Master) (err error) {
		address, err = m.Reserve(ctx, port)
		return err
	})
	return address, err
}

// Join joins the group of a port.
func (c *Client) Join(ctx context.Context, port portgroup.Key) error {
	err := c.askForPort(ctx, port, func(ctx context.Context, m protocol.Master) error { return m.Join(ctx, port) })
	if _, listens := c.listens(port); err != nil && listens {
		if _, told := errors.AsType[*protocol.RemoteError](err); !told {
			return nil // the master died after this node had begun to listen: it gets connections, and the next master learns of the listener
		}
	}
	return err
}

// joinInterval is the time between two requests to masters that have gone.
const joinInterval = 5 * time.Millisecond

// askForPort asks the master about a port for which this node does not listen yet. There may be no master for a while.
func (c *Client) askForPort(ctx context.Context, port portgroup.Key, request func(context.Context, protocol.Master) error) (err error) {
	for again := true; again; { // a master may have handed over in this moment
		if err := c.awaitLink(ctx); err != nil {
			return err
		}
		err = c.Ask(ctx, request)
		_, listens := c.listens(port)
		if again = !listens && (errors.Is(err, protocol.ErrUnlinked) || errors.Is(err, ErrNoMaster)); again {
			time.Sleep(joinInterval)
		}
	}
	if _, told := errors.AsType[*protocol.RemoteError](err); err != nil && !told {
		err = &net.OpError{Op: "listen", Net: port.Network, Err: fmt.Errorf("ask the master for the port: %w", err)}
	}
	return err
}

// Exclude asks for no new connections.
func (c *Client) Exclude(ctx context.Context, port portgroup.Key) (epoch int, later bool, err error) {
	err = c.Ask(ctx, func(ctx context.Context, m protocol.Master) (err error) {
		epoch, later, err = m.Exclude(ctx, port)
		return err
	})
	return epoch, later, err
}

// Leave leaves the group of a port.
func (c *Client) Leave(ctx context.Context, port portgroup.Key, epoch int) (again bool, err error) {
	err = c.Ask(ctx, func(ctx context.Context, m protocol.Master) (err error) {
		again, err = m.Leave(ctx, port, epoch)
		return err
	})
	return again, err
}

// Ask sends a request to the master, if there is one. If another master takes over, or returns the workers, before the answer
// arrives, Ask sends it to that one.
func (c *Client) Ask(ctx context.Context, request func(context.Context, protocol.Master) error) error {
	for {
		l, ok := c.current()
		if !ok {
			return ErrNoMaster
		}
		err := c.askThrough(ctx, l, request)
		if _, ok := c.current(); !errors.Is(err, protocol.ErrUnlinked) || !ok || ctx.Err() != nil {
			return err
		}
	}
}

// askThrough asks the master at the other end of l. Its error is ErrUnlinked when that is the master no more.
func (c *Client) askThrough(ctx context.Context, l link, request func(context.Context, protocol.Master) error) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go c.awaitOther(asking, l, func() { cancel(protocol.ErrUnlinked) })
	err := request(asking, l.Master)
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
func (c *Client) awaitOther(ctx context.Context, l link, found func()) {
	for {
		c.mu.Lock()
		attached := c.attached
		c.mu.Unlock()
		if now, ok := c.current(); !ok || now != l {
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
func (c *Client) current() (l link, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range slices.Backward(c.links) {
		if !closed.Is(l.Ended()) {
			return l, true
		}
	}
	return link{}, false
}

// awaitLink waits until there is a master.
func (c *Client) awaitLink(ctx context.Context) error {
	c.mu.Lock()
	linked := c.linked
	c.mu.Unlock()
	select {
	case <-linked:
		return nil
	case <-c.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
