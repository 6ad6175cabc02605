package master

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// claim is what makes a process the master: the lock of the rendezvous directory, with which goes the right to give out ids.
type claim struct {
	logger    *slog.Logger
	directory *rendezvous.Directory // nil: it is not open yet

	mu    sync.Mutex
	lock  *rendezvous.Lock // nil: it was not taken; guarded by mu
	spare []int            // ids for guests; guarded by mu
}

// lockTimeout bounds how long a successor waits for the lock of a predecessor that was killed: the kernel closes what that had
// open one after the other, and the connection to us may be before the lock.
const lockTimeout = 5 * time.Second

// take takes the lock. Who is patient waits for one that is about to be free.
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

// nextID returns an id that nobody ever had.
func (c *claim) nextID() (int, error) { return c.current().NextID() }

// guestID gives a guest of the mesh its id.
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

// spares is how many guests of the mesh can come while a successor has the lock.
const spares = 16

// spareIDs takes ids for guests that come while a successor has the lock.
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

// leave frees the lock, and removes what is not another master's, to whom all was ceded. That one may have ended before us.
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
