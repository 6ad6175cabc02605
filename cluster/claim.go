package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// handoverTaken tells that this process has been the master to whom its predecessor has handed over: another cluster that it
// is the master of later has no predecessor.
var handoverTaken atomic.Bool

// takeSuccession lets the predecessor that has started us hand over. What it said at the start, or was told since, goes
// before what our options say.
func (m *master) takeSuccession(ctx context.Context) (err error) {
	predecessor, err := boot.InheritedHandover()
	if predecessor == nil || !handoverTaken.CompareAndSwap(false, true) {
		return err
	}
	m.predecessor = predecessor
	m.opts.Name, m.opts.Dir, m.opts.Nodes = m.predecessor.Cluster, m.predecessor.Directory, m.predecessor.Nodes
	m.probation, err = awaitPredecessor(ctx, m.predecessor.Talk)
	return err
}

// takeNameOfDirectory gives a cluster that has a directory of its own the name of those that live there.
func (m *master) takeNameOfDirectory() (err error) {
	if m.opts.Dir == "" {
		return nil
	}
	if m.directory, err = rendezvous.Open(m.opts.Dir); err != nil {
		return err
	}
	alive, err := m.directory.Alive()
	if err != nil || alive == 0 {
		return err
	}
	name := m.directory.LastOwner().Cluster
	setDefault(&m.opts.Name, name)
	if name != "" && name != m.opts.Name {
		return fmt.Errorf("in %s live %d nodes of cluster %q: give this one, %q, another directory, or that name",
			m.directory.Path(), alive, name, m.opts.Name)
	}
	return nil
}

// takeName finds out the name of the cluster. Where that depends on a port that the kernel is to choose, it takes the
// port first.
func (m *master) takeName(ctx context.Context) error {
	if m.opts.Name != "" {
		return nil
	}
	addr, err := net.ResolveTCPAddr("tcp", m.opts.Addr)
	if err == nil && addr.Port != 0 {
		m.opts.Name = defaultName(addr.Port)
		return nil
	}
	if err := m.takePort(ctx); err != nil { // and tell what is wrong with the address
		return err
	}
	reserved, err := m.steering.Address(ctx, m.key)
	if err != nil {
		return err
	}
	m.opts.Name = defaultName(reserved.(*net.TCPAddr).Port)
	return nil
}

// takePort reserves the port that all nodes share, unless we have it already.
func (m *master) takePort(ctx context.Context) error {
	if m.program != nil {
		return nil
	}
	addr, err := m.steering.Address(ctx, m.key)
	if lock := m.currentLock(); err == nil && lock != nil {
		err = lock.SetAddress(addr.String())
	}
	return err
}

// takeKey names our port as adopted workers do that listen on the same address.
func (m *master) takeKey() {
	addr, err := net.ResolveTCPAddr("tcp", m.opts.Addr)
	if err != nil { // takePort will tell
		return
	}
	key, others, ok := m.steering.PortAt(m.key, addr)
	if ok {
		m.key = key
		m.supervisor.SetPort(key)
	} else if len(others) > 0 {
		m.opts.Logger.Warn("the adopted workers listen elsewhere: a reload brings the new address",
			"address", m.opts.Addr, "theirs", others)
	}
}

// takeDirectory opens the rendezvous directory and takes its lock. It returns whether workers of a master live there
// that is gone.
func (m *master) takeDirectory() (adopting bool, err error) {
	if m.directory == nil {
		path, err := rendezvous.DefaultPath(m.opts.Name)
		if err != nil {
			return false, err
		}
		if m.directory, err = rendezvous.Open(path); err != nil {
			return false, err
		}
	}
	if err := m.takeLock(); err != nil {
		return false, err
	}
	alive, err := m.directory.Alive()
	return alive > 0, err
}

// lockTimeout bounds how long a successor waits for the lock of a predecessor that was killed: the kernel closes what that had
// open one after the other, and the connection to us may be before the lock.
const lockTimeout = 5 * time.Second

// takeLock takes the lock of the cluster.
func (m *master) takeLock() error {
	owner := rendezvous.Owner{PID: os.Getpid(), Cluster: m.opts.Name, Address: m.opts.Addr, Since: m.since}
	lock, err := m.directory.Lock(owner)
	for begin := time.Now(); m.predecessor != nil && isLocked(err) && time.Since(begin) < lockTimeout; {
		lock, err = m.directory.Lock(owner)
	}
	if err != nil {
		return err
	}
	m.lockMu.Lock()
	defer m.lockMu.Unlock()
	m.lock, m.spare = lock, nil
	return nil
}

func isLocked(err error) bool {
	_, ok := errors.AsType[*rendezvous.LockedError](err)
	return ok
}

// currentLock returns the lock, nil while it was not taken.
func (m *master) currentLock() *rendezvous.Lock {
	m.lockMu.Lock()
	defer m.lockMu.Unlock()
	return m.lock
}

// nextID returns an id that nobody ever had.
func (m *master) nextID() (int, error) { return m.currentLock().NextID() }

// identity returns our id and generation.
func (m *master) identity() (id, generation int, err error) {
	if m.predecessor == nil {
		id, err = m.currentLock().MasterID()
		return id, 1, err
	}
	id, err = m.nextID() // the predecessor is still there, with its own
	return id, m.predecessor.Generation + 1, err
}

// guestID gives a guest of the mesh its id.
func (m *master) guestID() int {
	id, err := m.nextID()
	if err != nil {
		m.lockMu.Lock()
		defer m.lockMu.Unlock()
		if len(m.spare) > 0 { // a successor has the lock
			id, m.spare = m.spare[0], m.spare[1:]
			return id
		}
		m.opts.Logger.Warn("a guest gets no id", "error", err)
		return 0
	}
	return id
}

// spares is how many guests of the mesh can come while a successor has the lock.
const spares = 16

// spareIDs takes ids for guests that come while a successor has the lock.
func (m *master) spareIDs() error {
	for range spares {
		id, err := m.nextID()
		if err != nil {
			return err
		}
		m.lockMu.Lock()
		m.spare = append(m.spare, id)
		m.lockMu.Unlock()
	}
	return nil
}
