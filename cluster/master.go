package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

// master is what a node has beyond others when it is the master.
type master struct {
	ports      *ports
	directory  *peer.Directory
	lock       *peer.Lock
	supervisor *supervisor
}

// masterJoinTimeout is how long a new master waits for links with what a killed master has left.
const masterJoinTimeout = 10 * time.Second

// listenMaster makes this process the master of a new cluster. What it takes is taken in the order in which others
// would notice: the port, the lock of the directory, and only then are workers started.
func listenMaster(opts Options, server Server, sys system) (_ *Node, err error) {
	m := &master{ports: new(ports)}
	defer func() {
		if err != nil {
			err = join(err, m.close())
		}
	}()
	addr, err := m.takePort(opts.Addr)
	if err != nil {
		return nil, explainOrphans(opts, err)
	}
	setDefault(&opts.Name, defaultName(addr.Port))
	if err := m.takeDirectory(opts, addr.String()); err != nil {
		return nil, err
	}
	highest, err := m.directory.HighestID() // workers of a master that was killed may still be there
	if err != nil {
		return nil, err
	}
	nextID := idsAfter(highest)
	links, err := joinLinks(opts, peer.Options{
		Directory: m.directory, Self: peer.Info{Cluster: opts.Name, Generation: 1}, NextID: nextID,
	}, masterJoinTimeout)
	if err != nil {
		return nil, err
	}
	listener, err := listenAsMaster(opts, addr)
	if err != nil {
		return nil, join(err, links.close())
	}
	n := newNode(opts, links, server, listener)
	n.master, n.resolve = m, m.ports.address
	common := role{
		Cluster: opts.Name, Directory: m.directory.Path(), Master: links.mesh.Self().Incarnation,
		Address: addr.String(), Procs: share(opts.Nodes),
	}
	m.supervisor = newSupervisor(opts, common, nextID, sys.start, m.ports)
	if err := m.supervise(links.mesh); err != nil {
		return nil, join(join(err, listener.Close()), links.close())
	}
	n.startMaster(common.Procs)
	return n, nil
}

// idsAfter returns what gives out ids, to workers and to guests of the mesh, each once.
func idsAfter(highest int) func() int {
	var last atomic.Int64
	last.Store(int64(highest))
	return func() int { return int(last.Add(1)) }
}

// supervise takes part in the control streams of the workers.
func (m *master) supervise(mesh *peer.Mesh) error {
	_, err := mesh.OnStream(controlStream, isWorker, func(stream *peer.Stream) {
		if err := m.supervisor.serveLink(stream); err != nil {
			mesh.Cut(stream.Peer(), err.Error())
		}
	})
	return err
}

// isWorker chooses the nodes that have the other end of a control stream.
func isWorker(info peer.Info) bool { return info.Slot > 0 }

// startMaster lets the master live, with so many processors, 0: as it is.
func (n *Node) startMaster(procs int) {
	if n.listening && procs > 0 {
		runtime.GOMAXPROCS(procs)
	}
	n.start()
	go n.master.supervisor.run() // ends when the node stops, which waits for it
	go n.watchSupervisor()
	if os.Getpid() == 1 {
		go reapStrangers(n.done, reapInterval)
	}
}

// takePort reserves the port that all nodes share.
func (m *master) takePort(address string) (*net.TCPAddr, error) {
	address, err := m.ports.address(context.Background(), portKey{Network: "tcp", Address: address})
	if err != nil {
		return nil, err
	}
	return net.ResolveTCPAddr("tcp", address)
}

// explainOrphans adds to the error of a port in use that it may be the workers of a master that is gone who hold it.
func explainOrphans(opts Options, err error) error {
	addr, resolveErr := net.ResolveTCPAddr("tcp", opts.Addr)
	if !errors.Is(err, syscall.EADDRINUSE) || resolveErr != nil {
		return err
	}
	setDefault(&opts.Name, defaultName(addr.Port))
	path, pathErr := opts.directory()
	if _, statErr := os.Stat(path); pathErr != nil || statErr != nil {
		return err // and not make one to look into it
	}
	directory, openErr := peer.OpenDirectory(path)
	if openErr != nil {
		return err
	}
	locked, lockErr := directory.Locked()
	alive, aliveErr := directory.Alive()
	if join(join(lockErr, aliveErr), directory.Close()) == nil && !locked && alive > 0 {
		return fmt.Errorf("%w; there are %d workers whose master is gone in %s: they leave after their "+
			"OrphanTimeout, 30 s by default", err, alive, path)
	}
	return err
}

// listenAsMaster returns the master's own listener, or one that stands for the port in a master that does not listen.
func listenAsMaster(opts Options, addr *net.TCPAddr) (net.Listener, error) {
	if opts.DisableMasterListen {
		return newIdleListener(addr), nil
	}
	return reuseport.Listen(context.Background(), "tcp", addr.String(), reuseport.Options{})
}

// takeDirectory opens the rendezvous directory and takes its lock.
func (m *master) takeDirectory(opts Options, address string) error {
	path, err := opts.directory()
	if err != nil {
		return err
	}
	if m.directory, err = peer.OpenDirectory(path); err != nil {
		return err
	}
	m.lock, err = m.directory.Lock(peer.Owner{
		PID: os.Getpid(), Cluster: opts.Name, Address: address, Since: time.Now(),
	})
	return err
}

// stopWorkers lets the workers and our own server, by shutdown, stop at the same time, and waits until no worker is
// left. When ctx is cancelled before its time they are killed.
func (m *master) stopWorkers(ctx context.Context, timeout time.Duration, shutdown func(context.Context) error) error {
	m.supervisor.send(stopAll{timeout: timeout})
	err := shutdown(ctx)
	select {
	case <-m.supervisor.done:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			m.supervisor.send(cutAll{})
		}
		<-m.supervisor.done // each worker that has not left is killed by its slot's deadline
	}
	return join(m.supervisor.err, err)
}

// close gives back what the master has taken.
func (m *master) close() (err error) {
	if m.lock != nil {
		err = join(err, m.lock.Release())
	}
	if m.directory != nil {
		err = join(err, m.directory.Remove())
	}
	return join(err, m.ports.close())
}

// watchSupervisor ends the node when the supervisor has given up. It is a goroutine that ends with the supervisor.
func (n *Node) watchSupervisor() {
	<-n.master.supervisor.done
	n.stop(nil, n.opts.StopTimeout) // the reason is the supervisor's error
}
