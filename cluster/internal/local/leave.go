package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/reuseport"
)

// LongestLeave bounds how long a node waits until its accept queues are empty. Its server accepts all the while; it is the bound
// for a server that does not, or for handshakes that never end.
const LongestLeave = 10 * time.Second

// stuckTime is how long connections may wait in the queue of a node that leaves while its server does not accept.
const stuckTime = time.Second

// How long a node waits that connections can be steered away, while the map of the group is not certain.
const (
	excludeTimeout  = 3 * time.Second
	excludeInterval = 20 * time.Millisecond
)

// Join joins the group of a port.
func (l *Listeners) Join(ctx context.Context, port portgroup.Key) (*Listener, error) {
	if err := l.Steerer().Join(ctx, port); err != nil {
		return nil, err
	}
	return l.Get(port)
}

// Leave leaves the groups of all ports, without losing a connection where they can be steered, and closes the listeners. Accept
// of each blocks from then on until done is closed. stuck is called when connections wait and the server does not accept: a
// server at its limit of connections may have handlers that only end when they learn of the drain.
func (l *Listeners) Leave(ctx context.Context, done <-chan struct{}, stuck func()) error {
	l.leaving.Lock()
	defer l.leaving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, LongestLeave)
	defer cancel()
	var leaves sync.WaitGroup
	for _, one := range l.last() {
		if one.queues != nil {
			_ = one.queues.Help(false) // it can only fail to begin
		}
		one.Park(done)
		go one.watchQueue(ctx, stuck)
		leaves.Go(func() { // ends with ctx
			if err := one.leave(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
				nodeOf(l).Logger.Warn("connections that wait to be accepted may be lost", "address", one.address, "error", err)
			}
		})
	}
	leaves.Wait()
	return l.Close()
}

// watchQueue calls stuck when connections wait and the server does not accept. It is a goroutine that ends with ctx.
func (l *Listener) watchQueue(ctx context.Context, stuck func()) {
	for {
		select {
		case <-time.After(stuckTime):
		case <-ctx.Done():
			return
		}
		poke, cancel := context.WithTimeout(ctx, stuckTime)
		err := l.Poke(poke)
		cancel()
		if length, _ := l.Queue(); length > 0 && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			stuck()
			return
		}
	}
}

// leave leaves the group of one port. It begins again when the exclusion is broken meanwhile, as by the death of a member whose
// index we get.
func (l *Listener) leave(ctx context.Context) error {
	for {
		epoch, err := l.exclude(ctx)
		if err != nil {
			return l.leaveAlone(ctx, err)
		}
		if epoch == 0 {
			_ = reuseport.Hide(l.socket) // if that fails, connections of the last moment are lost
		}
		if err := l.Drain(ctx); err != nil {
			return err
		}
		again, err := l.of.Steerer().Leave(ctx, l.Key, epoch)
		if err != nil {
			return l.leaveAlone(ctx, err)
		}
		if !again {
			return nil
		}
	}
}

// leaveAlone leaves a group that is no longer steered, for the reason why. Connections that were steered elsewhere may arrive
// here again.
func (l *Listener) leaveAlone(ctx context.Context, why error) error {
	if err := reuseport.Hide(l.socket); err != nil {
		return errline.Join(why, err)
	}
	return l.Drain(ctx)
}

// exclude steers new connections away. It returns 0 where they cannot be: then their SYNs are no longer answered, and their
// clients try again after a second.
func (l *Listener) exclude(ctx context.Context) (epoch int, err error) {
	for end := time.Now().Add(excludeTimeout); ; {
		epoch, later, err := l.of.Steerer().Exclude(ctx, l.Key)
		late := time.Now().After(end)
		if late {
			nodeOf(l.of).Logger.Warn("connections cannot be steered away: new ones are answered a second later",
				"address", l.address)
		}
		if err != nil || !later || late {
			return epoch, err
		}
		select {
		case <-time.After(excludeInterval):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// longestRejoin bounds how long a node waits until its queue is empty before it gives up, and then for its master.
const longestRejoin = 2 * time.Second

// rejoinInterval is the time between two requests to a master that has not admitted a node to its group again.
const rejoinInterval = 100 * time.Millisecond

// rejoin leaves the group of a port and joins it again, where a connection cannot be lost by it.
func (l *Listener) rejoin() {
	l.of.leaving.Lock()
	defer l.of.leaving.Unlock()
	if now, err := l.of.Get(l.Key); err != nil || now != l {
		return // the node has left for good
	}
	l.of.beginRejoin(l)
	err := l.tryLeave()
	err = errline.Join(err, l.joinAgain())
	err = errline.Join(err, l.of.endRejoin(l.Key))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		nodeOf(l.of).Logger.Warn("leaving a group and joining it again failed", "address", l.address, "error", err)
	}
}

// beginRejoin makes the acceptor of a listener that is closed wait until it is opened again, or endRejoin.
func (l *Listeners) beginRejoin(one *Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rejoining[one.Key] = one.Acceptor
}

// endRejoin closes the acceptor if the listener was not opened again.
func (l *Listeners) endRejoin(port portgroup.Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	acceptor := l.rejoining[port]
	delete(l.rejoining, port)
	if l.open[port] != nil {
		return nil
	}
	return acceptor.Shut()
}

// tryLeave leaves the group, unless that may lose a connection.
func (l *Listener) tryLeave() error {
	ctx, cancel := context.WithTimeout(context.Background(), longestRejoin)
	defer cancel()
	steerer := l.of.Steerer()
	for {
		epoch, _, err := steerer.Exclude(ctx, l.Key)
		if err != nil || epoch == 0 {
			return err
		}
		if err := l.Drain(ctx); err != nil {
			return fmt.Errorf("empty the queue: %w", err)
		}
		again, err := steerer.Leave(ctx, l.Key, epoch)
		if !again || err != nil {
			return err
		}
	}
}

// joinAgain joins a group that was left, or takes back an exclusion, of which the master has to know. Until it does, or the
// node stops, the node listens by itself.
func (l *Listener) joinAgain() error {
	for told := false; ; time.Sleep(rejoinInterval) {
		err := l.tryJoin()
		if err == nil || closed.Is(nodeOf(l.of).Stopping) {
			return nil
		}
		if _, openErr := l.of.Open(context.Background(), l.Key, l.address); openErr != nil {
			return errline.Join(openErr, err)
		}
		if !told {
			nodeOf(l.of).Logger.Warn("the master does not admit this node to the group again: asking it until it does",
				"address", l.address, "error", err)
			told = true
		}
	}
}

func (l *Listener) tryJoin() error {
	ctx, cancel := context.WithTimeout(context.Background(), longestRejoin)
	defer cancel()
	return l.of.Steerer().Join(ctx, l.Key)
}
