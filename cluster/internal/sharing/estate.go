package sharing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// estate is the listener of a node that has died, while other nodes accept from its queue.
type estate struct {
	sharing *Sharing
	inode   uint32
}

// Estate stands for a node that has died, and its listener, which this master holds.
func (s *Sharing) Estate(inode uint32) portgroup.Agent { return estate{s, inode} }

// Empty waits until other nodes have accepted what is under way to the queue of a listener that this master holds. With hide, where
// connections cannot be steered away, no new ones come first.
func (s *Sharing) Empty(ctx context.Context, inode uint32, hide bool) error {
	return estate{s, inode}.use(func(b *reuseport.Borrowed) error {
		if hide {
			_ = reuseport.Hide(b) // where it cannot be, those that come in the last moment are lost
		}
		if _, err := reuseport.Drain(ctx, b); err != nil {
			return fmt.Errorf("empty the queue: %w", err)
		}
		return nil
	})
}

var errDead = errors.New("the node has died")

func (e estate) use(do func(*reuseport.Borrowed) error) error {
	b, err := e.sharing.borrow(e.inode)
	if err != nil {
		return err
	}
	defer b.Close()
	return do(b)
}

// Attach attaches a program.
func (e estate) Attach(_ context.Context, _ portgroup.Key, s reuseport.Steering, _ time.Duration) error {
	return e.use(func(b *reuseport.Borrowed) error { return reuseport.Attach(b, s) })
}

// SetCPU sets SO_INCOMING_CPU.
func (e estate) SetCPU(_ context.Context, _ portgroup.Key, cpu int) error {
	return e.use(func(b *reuseport.Borrowed) error { return reuseport.SetIncomingCPU(b, cpu) })
}

// Shut takes the listener out of its group.
func (e estate) Shut(context.Context, portgroup.Key) error {
	return e.use((*reuseport.Borrowed).Shutdown)
}

// Help does nothing.
func (e estate) Help(context.Context, portgroup.Key, bool) error { return nil }

// Open cannot be done, nor can what follows.
func (e estate) Open(context.Context, portgroup.Key, string) (uint32, error) { return 0, errDead }

// Rejoin cannot be done.
func (e estate) Rejoin(context.Context, portgroup.Key) error { return errDead }

// Expect cannot be done.
func (e estate) Expect(context.Context, portgroup.Key, netip.AddrPort) error { return errDead }

// Await cannot be done.
func (e estate) Await(context.Context, portgroup.Key, netip.AddrPort) (uint32, error) {
	return 0, errDead
}

// Forget cannot be done.
func (e estate) Forget(context.Context, portgroup.Key, netip.AddrPort) (bool, error) {
	return false, errDead
}

// Keep cannot be done.
func (e estate) Keep(context.Context, portgroup.Key, portgroup.Snapshot) error { return errDead }

// Probe cannot be done.
func (e estate) Probe(context.Context) (portgroup.Load, error) { return portgroup.Load{}, errDead }
