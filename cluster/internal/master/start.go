package master

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/api"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/journal"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/sdnotify"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
)

// masterJoinTimeout is how long a new master waits until the nodes of a killed master have reported their listeners.
const masterJoinTimeout = 10 * time.Second

// Start makes this process the master of a cluster: of a new one, or of one whose master is gone. It begins with what others
// would notice first: the lock of the directory, then the port, and only then it starts workers.
func Start(ctx context.Context, c Config) (_ *node.Node, _ *Master, err error) {
	if err := LeaveProcessOne(); err != nil {
		return nil, nil, err
	}
	if err := node.EnoughDescriptors(c.Nodes, true, c.Node.Sharing); err != nil {
		return nil, nil, err
	}
	m := &Master{
		cfg: c, since: time.Now(), journal: journal.New(stamp),
		claim: claim{logger: c.Node.Logger}, manager: serviceManager{logger: c.Node.Logger, file: c.PIDFile},
		takingOver: takingOver{greeted: make(chan struct{})},
	}
	if c.Program == nil {
		m.key = portgroup.Key{Network: "tcp", Address: c.Addr}
	}
	defer func() {
		if err != nil {
			err = errline.Join(err, m.close())
		}
	}()
	s := starting{m}
	if err := s.take(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.takePlace(ctx); err != nil {
		return nil, nil, err
	}
	return m.node, m, nil
}

// starting is a master that is being made.
type starting struct{ *Master }

// take takes the name, the lock and the port of a master.
func (m starting) take(ctx context.Context) (err error) {
	steered := steering.Config{Force: m.cfg.Steering, Pauses: m.cfg.AcceptPauses, Logger: m.cfg.Node.Logger, Tell: m.journal.Emit}
	if m.cfg.Program != nil {
		steered.Program = &m.cfg.Program.Steered
	}
	if m.steering, err = steering.New(steered); err != nil {
		return err
	}
	if m.manager.notifier, err = sdnotify.New(); err != nil {
		m.cfg.Node.Logger.Warn("the service manager is not notified of all", "error", err)
	}
	if err := m.takeHandover(ctx); err != nil {
		return err
	}
	if err := m.takeNameOfDirectory(); err != nil {
		return err
	}
	if err := m.takeName(ctx); err != nil {
		return err
	}
	adopting, err := m.takeDirectory()
	if err != nil {
		return err
	}
	if !adopting { // else the listeners of the workers have to be known first
		if err := m.takePort(ctx); err != nil {
			return err
		}
	}
	if err := m.takeWorkers(ctx); err != nil || !adopting {
		return err
	}
	m.takeKey()
	return m.takePort(ctx)
}

// LeaveProcessOne does not return in process 1 of a container, which becomes an init that starts this program as its child.
func LeaveProcessOne() error {
	if os.Getpid() != 1 {
		return nil
	}
	self, err := proc.Self()
	if err != nil {
		return fmt.Errorf("find the program that process 1 is to start: %w", err)
	}
	return pid1.Become(self.Path)
}

// takeWorkers links this node with the other nodes, and begins to supervise. Workers that another master has left are adopted.
// New ones are started by takePlace.
func (m starting) takeWorkers(ctx context.Context) (err error) {
	id, generation, err := m.identity()
	if err != nil {
		return err
	}
	m.links, err = node.Join(ctx, m.cfg.Node.Logger, peer.Info{Cluster: m.cfg.Name, ID: id, Generation: generation}, inside.Options{
		Directory: m.claim.directory, NextID: m.claim.guestID, AllowAbsent: true, Unshown: m.probation.isOn(),
	}, m.cfg.Node.Sharing, m.cfg.LivenessTimeout)
	if err != nil {
		return err
	}
	m.listeners = local.New(m.cfg.AcceptPauses, m.links.Sharer())
	absent, err := inside.Of(m.links.Mesh).Absent()
	if err != nil {
		return err
	}
	if err := m.refuse(absent); err != nil {
		return err
	}
	var lent steering.Lent
	if m.links.Sharing != nil {
		lent = m.links.Sharing
	}
	m.steering.Start(id, lent)
	if m.predecessor != nil {
		if err := m.meetPredecessor(); err != nil {
			return err
		}
	}
	m.supervisor = supervise.New(m.supervision(id))
	m.supervisor.Inherit(id - 1) // workers that were about to join when the lock was freed
	if m.probation != nil {
		m.supervisor.Hold(doingTakeover)
	}
	m.supervisor.AdoptAll(m.links.Mesh.Peers())
	m.supervisor.EndAll(absent)
	m.forgetWorkers, err = m.links.Mesh.OnStream(protocol.Stream, isWorker, func(stream *peer.Stream) {
		if err := m.supervisor.ServeLink(stream, stream.Peer()); err != nil {
			m.links.Cut(stream.Peer(), err.Error())
		}
	})
	if err != nil {
		return err
	}
	go m.supervisor.Run() // ends when the node stops, which waits for it
	select {
	case <-m.supervisor.Greeted():
	case <-time.After(masterJoinTimeout): // nodes that have not reported their listeners are ended, as others that do not answer
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
	m.restorePauses()
	m.steering.Open()
	return nil
}

// supervision says how the workers are supervised, by the master with that id.
func (m starting) supervision(id int) supervise.Config {
	c := supervise.Config{
		Rules: lifecycle.Config{
			Workers: m.cfg.workers(), BootTimeout: m.cfg.Node.BootTimeout, StopTimeout: m.cfg.Node.StopTimeout,
			LivenessTimeout: m.cfg.LivenessTimeout, LeaveTimeout: local.LongestLeave, DisableRestart: m.cfg.DisableRestart,
			MasterID: id, MasterPID: os.Getpid(), MasterAccepts: !m.cfg.DisableMasterListen,
		},
		Role:   boot.Role{Cluster: m.cfg.Name, Directory: m.claim.directory.Path(), Port: m.key, Procs: m.cfg.System.Procs(m.cfg.Nodes)},
		NextID: m.claim.nextID, Start: m.cfg.System.Start, Adopt: m.cfg.System.Adopt, Room: m.room,
		Steering: m.steering, Tell: m.journal.Emit, Logger: m.cfg.Node.Logger,
	}
	if m.cfg.Program != nil {
		c.Program = &m.cfg.Program.Supervised
	}
	return c
}

// room returns an error if the master cannot have as many descriptors open as so many nodes more need.
func (m starting) room(more int) error { return node.MoreDescriptors(more, m.cfg.Node.Sharing) }

// isWorker chooses the nodes that have the other end of a control stream.
func isWorker(info peer.Info) bool { return info.Slot > 0 }

// takePlace makes the node and has the slots filled.
func (m starting) takePlace(ctx context.Context) error {
	m.steering.Linked(m.links.Mesh.Self().ID, os.Getpid(), m.listeners)
	addr, err := m.address(ctx, m.key)
	if err != nil {
		return err
	}
	n := node.New(m.cfg.Node, m.links, m.listeners, m.key, addr)
	m.node = n
	if m.cfg.DisableMasterListen {
		n.Supervise()
	}
	m.listeners.SteerBy(m.steering.Own())
	if procs := m.cfg.System.Procs(m.cfg.Nodes); n.Accepts() && procs > 0 {
		runtime.GOMAXPROCS(procs)
	}
	m.supervisor.Belong(supervised(m), n.Begun())
	n.Start(node.Role{ // before the PID file names this process: an early signal would kill it
		Stop: m.stop, Serving: m.serving, AllReady: m.supervisor.AllReady(), StandIn: m.standIn, Obey: m.obey, PassOn: m.passOn,
	})
	if err := m.writePID(); err != nil {
		n.GiveUp()
		return err
	}
	if err := m.links.Mesh.Handle("/", api.Handler(m.Control(), lifecycle.MaxNodes)); err != nil {
		return err
	}
	m.supervisor.Send(lifecycle.Fill{})
	go m.watchSupervisor()
	if m.probation != nil {
		go m.watchProbation()
	}
	m.warnOfCrash()
	go m.announce()
	return nil
}

// warnOfCrash warns of a master that accepts connections if its crash ends the service for the process that has started it.
func (m starting) warnOfCrash() {
	starter := m.manager.starter()
	if starter == "" || !m.node.Accepts() || m.predecessor != nil {
		return
	}
	m.cfg.Node.Logger.Warn("the master accepts connections, and "+starter+" takes its end for that of the service: a crash loses its connections "+
		"and starts it again; with Options.DisableMasterListen it only supervises, and its crash loses nothing", "nodes", m.cfg.Nodes)
}
