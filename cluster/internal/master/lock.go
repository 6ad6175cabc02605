package master

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// claim makes a process the master: it holds the lock of the rendezvous directory, and with it the right to assign ids.
type claim struct {
	logger    *slog.Logger
	directory *rendezvous.Directory // nil: it is not open yet

	mu    sync.Mutex
	lock  *rendezvous.Lock // nil: it was not taken; guarded by mu
	spare []int            // ids for guests; guarded by mu
}

// lockTimeout bounds how long a successor waits for the lock of a predecessor that was killed: the kernel closes descriptors one
// after the other, and the connection to us may be closed before the lock.
const lockTimeout = 5 * time.Second

// take takes the lock. If patient, it waits up to lockTimeout.
func (c *claim) take(owner rendezvous.Owner, patient bool) error {
	lock, err := c.directory.Lock(owner)
	for begin := time.Now(); patient && isLocked(err) && time.Since(begin) < lockTimeout; {
		lock, err = c.directory.Lock(owner)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lock, c.spare = lock, nil
	return nil
}

func isLocked(err error) bool {
	_, ok := errors.AsType[*rendezvous.LockedError](err)
	return ok
}

// current returns the lock, nil while it was not taken.
func (c *claim) current() *rendezvous.Lock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lock
}

// nextID returns an id that was never used.
func (c *claim) nextID() (int, error) { return c.current().NextID() }

// guestID returns an id for a guest of the mesh.
func (c *claim) guestID() int {
	id, err := c.nextID()
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.spare) > 0 { // a successor has the lock
			id, c.spare = c.spare[0], c.spare[1:]
			return id
		}
		c.logger.Warn("a guest gets no id", "error", err)
		return 0
	}
	return id
}

// spares is how many guests of the mesh can join while a successor has the lock.
const spares = 16

// spareIDs reserves ids for guests that join while a successor has the lock.
func (c *claim) spareIDs() error {
	for range spares {
		id, err := c.nextID()
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.spare = append(c.spare, id)
		c.mu.Unlock()
	}
	return nil
}

// leave frees the lock, and removes the files of this master. If all was ceded to another master, which may have ended before us,
// its files stay.
func (c *claim) leave(ceded bool) (err error) {
	switch lock := c.current(); {
	case lock != nil && ceded:
		err = lock.HandOver()
	case lock != nil:
		err = lock.Release()
	}
	if c.directory == nil {
		return err
	}
	if ceded {
		if others, lockErr := c.directory.Locked(); others || lockErr != nil {
			return errline.Join(errline.Join(err, lockErr), c.directory.Close())
		}
	}
	return errline.Join(err, c.directory.Remove())
}
