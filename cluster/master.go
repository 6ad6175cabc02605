package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/api"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/journal"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/sdnotify"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// master is what a node has beyond others when it is the master.
type master struct {
	opts       Options
	key        portgroup.Key // of the main port; zero if only the command knows it
	program    *program      // nil: this one
	since      time.Time
	directory  *rendezvous.Directory
	links      links
	listeners  *local.Listeners
	steering   *steering.Steering
	journal    *journal.Journal[control.Event]
	supervisor *supervise.Supervisor
	lockMu     sync.Mutex
	lock       *rendezvous.Lock // guarded by lockMu
	spare      []int            // guarded by lockMu; ids for guests
	supervised bool             // run has been started
	notifier   *sdnotify.Notifier
	unlinkPID  func() error

	predecessor *boot.Handover            // nil: this master does not take over from another one
	greeted     chan struct{}             // closed when the predecessor has told what it has
	probation   *probation                // nil: all is ours
	next        atomic.Pointer[successor] // the last one
	successor   *successor                // that is the master now; set when the node stops
	ceded       atomic.Bool               // another process is the master

	forgetWorkers func() // takes no control stream any more
}

// masterJoinTimeout is how long a new master waits until the nodes that a killed master has left tell what they have.
const masterJoinTimeout = 10 * time.Second

// lastWord is how long readers of the events have time for the last ones, when the master ends.
const lastWord = time.Second

// briefLameDuck is how long idle connections stay open when the whole cluster stops: there is nobody to come back to.
const briefLameDuck = time.Second

// startMaster makes this process the master of a cluster: of a new one, or of one whose master is gone. What it takes
// is taken in the order in which others would notice: the lock of the directory, the port, and only then are workers
// started.
//
// program is what it supervises, nil: this one.
func startMaster(ctx context.Context, opts Options, sys system, program *program) (_ *Node, err error) {
	if err := leaveProcessOne(); err != nil {
		return nil, err
	}
	if err := enoughDescriptors(opts.Nodes, true); err != nil {
		return nil, err
	}
	m := &master{
		opts: opts, program: program, since: time.Now(), listeners: local.New(opts.AcceptPauses),
		journal: journal.New(stamp), greeted: make(chan struct{}),
	}
	if program == nil {
		m.key = portgroup.Key{Network: "tcp", Address: opts.Addr}
	}
	defer func() {
		if err != nil {
			err = errline.Join(err, m.close())
		}
	}()
	steered := steering.Config{Force: opts.Steering, Pauses: opts.AcceptPauses, Logger: opts.Logger, Tell: m.journal.Emit}
	if program != nil {
		steered.Program = &steering.Program{Label: program.label, Promise: program.promise}
	}
	if m.steering, err = steering.New(steered); err != nil {
		return nil, err
	}
	if m.notifier, err = sdnotify.New(); err != nil {
		opts.Logger.Warn("the service manager is told less than it wants", "error", err)
	}
	if err := m.takeSuccession(ctx); err != nil {
		return nil, err
	}
	if err := m.takeNameOfDirectory(); err != nil {
		return nil, err
	}
	if err := m.takeName(ctx); err != nil {
		return nil, err
	}
	adopting, err := m.takeDirectory()
	if err != nil {
		return nil, err
	}
	if !adopting { // else we have to know first what the workers have
		if err := m.takePort(ctx); err != nil {
			return nil, err
		}
	}
	if err := m.takeWorkers(ctx, sys); err != nil {
		return nil, err
	}
	if adopting {
		m.takeKey()
		if err := m.takePort(ctx); err != nil {
			return nil, err
		}
	}
	return m.takeSeat(ctx)
}

// leaveProcessOne does not return in process 1 of a container, which becomes an init that starts this program as its child.
func leaveProcessOne() error {
	if os.Getpid() != 1 {
		return nil
	}
	self, err := proc.Self()
	if err != nil {
		return fmt.Errorf("find the program that process 1 is to start: %w", err)
	}
	return pid1.Become(self.Path)
}

// takeWorkers links us with the nodes that are there, and begins to supervise: those that a master has left are ours from
// now on. New ones are started by takeSeat.
func (m *master) takeWorkers(ctx context.Context, sys system) (err error) {
	id, generation, err := m.identity()
	if err != nil {
		return err
	}
	m.links, err = joinLinks(ctx, m.opts, peer.Info{Cluster: m.opts.Name, ID: id, Generation: generation}, inside.Options{
		Directory: m.directory, NextID: m.guestID, AllowAbsent: true, Unshown: m.probation.isOn(),
	}, m.opts.LivenessTimeout)
	if err != nil {
		return err
	}
	absent, err := inside.Of(m.links.mesh).Absent()
	if err != nil {
		return err
	}
	if err := m.refuse(absent); err != nil {
		return err
	}
	m.steering.Start(id)
	if m.predecessor != nil {
		if err := m.meetPredecessor(); err != nil {
			return err
		}
	}
	m.supervisor = supervise.New(m.supervision(id, sys))
	m.supervisor.Inherit(id - 1) // those that were about to join when the lock was freed
	if m.probation != nil {
		m.supervisor.Hold(doingTakeover)
	}
	m.supervisor.AdoptAll(m.links.mesh.Peers())
	m.supervisor.EndAll(absent)
	m.forgetWorkers, err = m.links.mesh.OnStream(protocol.Stream, isWorker, func(stream *peer.Stream) {
		if err := m.supervisor.ServeLink(stream); err != nil {
			inside.Of(m.links.mesh).Cut(stream.Peer(), err.Error())
		}
	})
	if err != nil {
		return err
	}
	m.supervised = true
	go m.supervisor.Run() // ends when the node stops, which waits for it
	select {
	case <-m.supervisor.Greeted():
	case <-time.After(masterJoinTimeout): // those that have not told what they have are ended as others that do not answer
	}
	if m.probation != nil {
		select {
		case <-m.greeted:
		case <-m.probation.over: // it was killed
		case <-ctx.Done():
			return fmt.Errorf("wait for what the predecessor has: %w", ctx.Err())
		case <-time.After(masterJoinTimeout): // it hangs
		}
	}
	m.steering.Open()
	return nil
}

// supervision says how the workers are supervised, by the master with that id.
func (m *master) supervision(id int, sys system) supervise.Config {
	c := supervise.Config{
		Rules: lifecycle.Config{
			Workers: m.opts.workers(), BootTimeout: m.opts.BootTimeout, StopTimeout: m.opts.StopTimeout,
			LivenessTimeout: m.opts.LivenessTimeout, LeaveTimeout: local.LongestLeave, DisableRestart: m.opts.DisableRestart,
			MasterID: id, MasterPID: os.Getpid(), MasterAccepts: !m.opts.DisableMasterListen,
		},
		Role:   boot.Role{Cluster: m.opts.Name, Directory: m.directory.Path(), Port: m.key, Procs: share(m.opts.Nodes)},
		NextID: m.nextID, Start: sys.start, Adopt: sys.adopt, Room: moreDescriptors,
		Steering: m.steering, Tell: m.journal.Emit, Logger: m.opts.Logger,
	}
	if m.program != nil {
		c.Program = &supervise.Program{StopSignal: m.program.StopSignal, Verdict: m.program.verdict}
	}
	return c
}

// isWorker chooses the nodes that have the other end of a control stream.
func isWorker(info peer.Info) bool { return info.Slot > 0 }

// takeSeat makes the node and has the slots filled.
func (m *master) takeSeat(ctx context.Context) (*Node, error) {
	m.steering.Linked(m.links.mesh.Self().ID, os.Getpid(), m.listeners)
	addr, err := m.address(ctx, m.key)
	if err != nil {
		return nil, err
	}
	n := newNode(m.opts, m.links, m.listeners, m.key, addr)
	n.master = m
	n.accepts.Store(!m.opts.DisableMasterListen)
	if !m.opts.ManualReady { // else announce does it
		n.onServing = func() { m.steering.Ready(n.ID()) }
	}
	m.listeners.SteerBy(m.steering.Own())
	if procs := share(m.opts.Nodes); n.accepts.Load() && procs > 0 {
		runtime.GOMAXPROCS(procs)
	}
	m.supervisor.Belong(supervised{n}, n.begun)
	n.start() // before it is told who the master is: a signal would kill it
	if err := m.writePID(); err != nil {
		n.giveUp()
		return nil, err
	}
	if err := m.links.mesh.Handle("/", api.Handler(controlled{n}, maxNodes)); err != nil {
		return nil, err
	}
	m.supervisor.Send(lifecycle.Fill{})
	go n.watchSupervisor()
	if m.probation != nil {
		go m.watchProbation(n)
	}
	m.warnOfCrash(n)
	go m.announce(n)
	return n, nil
}

// address returns the address of a port, which it reserves.
func (m *master) address(ctx context.Context, key portgroup.Key) (net.Addr, error) {
	if key == (portgroup.Key{}) {
		return nowhere{}, nil
	}
	return m.steering.Address(ctx, key)
}

// standIn returns a listener that stands for a port, in a master that does not listen.
func (m *master) standIn(ctx context.Context, key portgroup.Key) (net.Listener, error) {
	addr, err := m.address(ctx, key)
	if err != nil {
		return nil, err
	}
	return serve.NewIdleListener(addr), nil
}

// stop lets the workers and our own server stop at the same time, and waits until no worker is left. When the node is
// hurried, those that are left are killed.
//
// What a successor may have is waited for: the supervisor gets it back.
func (m *master) stop(n *Node, cause error) error {
	ctx := n.stopping
	switch {
	case m.successor != nil:
		<-m.successor.told
		return errline.Join(n.endServing(ctx, m.opts.LameDuck), m.close())
	case m.probation.isOn() && m.probation.giveUp(cause):
		return m.giveBack(n)
	}
	pid1.Init.Stopping()
	m.tellManager(m.notifier.Stopping())
	m.journal.Emit(control.Event{Kind: control.EventStopping, ID: -1})
	n.servers.BeginDrain() // it may take a moment until the port is ours to leave
	m.settle(n)
	if m.ceded.Load() {
		return errline.Join(n.endServing(ctx, m.opts.LameDuck), m.close())
	}
	m.steering.Seal(ctx)
	deadline, _ := ctx.Deadline()
	m.supervisor.Send(lifecycle.Stop{Timeout: max(0, time.Until(deadline))})
	err := n.endServing(ctx, min(m.opts.LameDuck, briefLameDuck))
	select {
	case <-m.supervisor.Done():
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			m.supervisor.Send(lifecycle.Cut{})
		}
	}
	err = errline.Join(m.supervisor.Err(), err) // each worker that has not left is killed when its time is over
	return errline.Join(err, errline.Join(m.leaveNothing(ctx), m.close()))
}

// settle waits until no successor has what is ours, or will get it.
func (m *master) settle(n *Node) {
	m.supervisor.Send(lifecycle.Ending{})
	hurried := n.hurried
	for {
		select {
		case <-m.supervisor.Settled():
			return
		case <-m.supervisor.Done():
			return
		case <-hurried:
			hurried = nil
			m.supervisor.Send(lifecycle.Hurry{})
		}
	}
}

// close gives back what the master has taken. What a successor has got stays.
func (m *master) close() (err error) {
	if m.supervised {
		m.supervisor.Send(lifecycle.Quit{})
		<-m.supervisor.Done()
	}
	m.journal.Close() // its readers are on the mesh, and are to hear of the end
	m.journal.AwaitReaders(lastWord)
	if m.notifier != nil {
		m.notifier.Close()
	}
	err = m.listeners.Close()
	if m.unlinkPID != nil {
		err = errline.Join(err, m.unlinkPID())
	}
	if m.links.mesh != nil {
		err = errline.Join(err, m.links.close())
	}
	err = errline.Join(err, m.leaveDirectory())
	if m.probation != nil {
		err = errline.Join(err, m.probation.close())
	}
	if m.steering != nil {
		err = errline.Join(err, m.steering.Close())
	}
	return err
}

// leaveDirectory frees the lock, and removes what is not another master's. That one may have ended before us.
func (m *master) leaveDirectory() (err error) {
	ceded := m.ceded.Load() || m.probation.isOn()
	switch lock := m.currentLock(); {
	case lock != nil && ceded:
		err = lock.HandOver()
	case lock != nil:
		err = lock.Release()
	}
	if m.directory == nil {
		return err
	}
	if ceded {
		if others, lockErr := m.directory.Locked(); others || lockErr != nil {
			return errline.Join(errline.Join(err, lockErr), m.directory.Close())
		}
	}
	return errline.Join(err, m.directory.Remove())
}

// watchSupervisor ends the node when the supervisor has given up. It is a goroutine that ends with the supervisor.
func (n *Node) watchSupervisor() {
	<-n.master.supervisor.Done()
	n.stop(nil, n.opts.StopTimeout) // the reason is the supervisor's error
}
