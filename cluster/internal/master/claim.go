package master

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/internal/rendezvous"
)

// handoverTaken is set when this process has used the handover of its predecessor: a later cluster of this process has no
// predecessor.
var handoverTaken atomic.Bool

// takeHandover waits for the predecessor that has started this process to hand over. Name, directory and number of nodes of the
// predecessor override our options.
func (m starting) takeHandover(ctx context.Context) (err error) {
	predecessor, err := boot.InheritedHandover()
	if predecessor == nil || !handoverTaken.CompareAndSwap(false, true) {
		return err
	}
	m.predecessor = predecessor
	m.cfg.Name, m.cfg.Dir, m.cfg.Nodes = m.predecessor.Cluster, m.predecessor.Directory, m.predecessor.Nodes
	m.probation, err = awaitPredecessor(ctx, m.predecessor.Talk)
	return err
}

// takeNameOfDirectory takes the name of the cluster from its directory, if nodes of a cluster live there.
func (m starting) takeNameOfDirectory() (err error) {
	if m.cfg.Dir == "" {
		return nil
	}
	if m.claim.directory, err = rendezvous.Open(m.cfg.Dir); err != nil {
		return err
	}
	alive, err := m.claim.directory.Alive()
	if err != nil || alive == 0 {
		return err
	}
	name := m.claim.directory.LastOwner().Cluster
	m.cfg.Name = cmp.Or(m.cfg.Name, name)
	if name != "" && name != m.cfg.Name {
		return fmt.Errorf("in %s live %d nodes of cluster %q: give this one, %q, another directory, or that name",
			m.claim.directory.Path(), alive, name, m.cfg.Name)
	}
	return nil
}

// takeName finds out the name of the cluster. Where that depends on a port that the kernel is to choose, it takes the
// port first.
func (m starting) takeName(ctx context.Context) error {
	if m.cfg.Name != "" {
		return nil
	}
	addr, err := net.ResolveTCPAddr("tcp", m.cfg.Addr)
	if err == nil && addr.Port != 0 {
		m.cfg.Name = m.cfg.NameAt(addr.Port)
		return nil
	}
	if err := m.takePort(ctx); err != nil { // which also says what is wrong with an address
		return err
	}
	reserved, err := m.steering.Address(ctx, m.key)
	if err != nil {
		return err
	}
	m.cfg.Name = m.cfg.NameAt(reserved.(*net.TCPAddr).Port)
	return nil
}

// takePort reserves the port that all nodes share, unless we have it already.
func (m starting) takePort(ctx context.Context) error {
	if m.cfg.Program != nil {
		return nil
	}
	addr, err := m.steering.Address(ctx, m.key)
	if lock := m.claim.current(); err == nil && lock != nil {
		err = lock.SetAddress(addr.String())
	}
	return err
}

// takeKey names our port as adopted workers do that listen on the same address.
func (m starting) takeKey() {
	addr, err := net.ResolveTCPAddr("tcp", m.cfg.Addr)
	if err != nil { // takePort will return the error
		return
	}
	key, others, ok := m.steering.PortAt(m.key, addr)
	if ok {
		m.key = key
		m.supervisor.SetPort(key)
	} else if len(others) > 0 {
		m.cfg.Node.Logger.Warn("the adopted workers listen elsewhere: a reload brings the new address",
			"address", m.cfg.Addr, "theirs", others)
	}
}

// takeDirectory opens the rendezvous directory and takes its lock. It returns whether workers of a master live there
// that is gone.
func (m starting) takeDirectory() (adopting bool, err error) {
	if m.claim.directory == nil {
		path, err := rendezvous.DefaultPath(m.cfg.Name)
		if err != nil {
			return false, err
		}
		if m.claim.directory, err = rendezvous.Open(path); err != nil {
			return false, err
		}
	}
	if err := m.takeLock(); err != nil {
		return false, err
	}
	alive, err := m.claim.directory.Alive()
	return alive > 0, err
}

// takeLock takes the lock of the cluster.
func (m *Master) takeLock() error {
	owner := rendezvous.Owner{PID: os.Getpid(), Cluster: m.cfg.Name, Address: m.cfg.Addr, Since: m.since}
	return m.claim.take(owner, m.predecessor != nil)
}

// identity returns our id and generation.
func (m starting) identity() (id, generation int, err error) {
	if m.predecessor == nil {
		id, err = m.claim.current().MasterID()
		return id, 1, err
	}
	id, err = m.claim.nextID() // the predecessor is still there, with its own
	return id, m.predecessor.Generation + 1, err
}
