// Package master is the part of the master: it claims the rendezvous directory and the ports, has the workers supervised and the
// connections steered, answers the control API, and hands over to a successor.
package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/journal"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/local"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/peer"
)

// Config configures a master. The fields are those of cluster.Options with their names, unless they say otherwise.
type Config struct {
	Node                                              node.Config
	Name, Dir, Addr                                   string
	Nodes                                             int
	DisableMasterListen, DisableRestart, AcceptPauses bool
	Steering, PIDFile                                 string
	LivenessTimeout                                   time.Duration

	System System
	NameAt func(port int) string         // returns the name of a cluster that has none, by its port
	Orders map[os.Signal]lifecycle.Order // by signal

	Program *Program // that it supervises; nil: this one
}

// System starts and adopts the processes of workers.
type System struct {
	Start func(boot.Role) (*proc.Process, error)
	Adopt func(peer.Info) (*proc.Process, error) // a process that is not our child
	Procs func(nodes int) int                    // returns the GOMAXPROCS of one of so many nodes, 0 where the user has set it
}

// Program is another program than this one.
type Program struct {
	Steered    steering.Program
	Supervised supervise.Program
	EndOrphans func(context.Context) // ends the daemons that it has left behind
}

// workers returns how many workers the master starts.
func (c Config) workers() int {
	if c.DisableMasterListen {
		return c.Nodes
	}
	return c.Nodes - 1
}

// Master is the part of a node that only a master has.
type Master struct {
	cfg        Config
	key        portgroup.Key // of the main port; zero if only the program knows it
	since      time.Time
	claim      claim
	links      node.Links
	listeners  *local.Listeners
	steering   *steering.Steering
	journal    *journal.Journal[control.Event]
	supervisor *supervise.Supervisor
	node       *node.Node
	manager    serviceManager
	takingOver
	handingOver

	pausing       sync.Mutex // held while a node is paused or resumed
	forgetWorkers func()     // stops accepting control streams; nil: none was accepted
}

// takingOver is the state of a successor: a master that takes over from a predecessor.
type takingOver struct {
	predecessor *boot.Handover // nil: there is none
	greeted     chan struct{}  // closed when the predecessor has reported its listeners
	probation   *probation     // nil: all is ours
}

// handingOver is the state of a master with a successor.
type handingOver struct {
	next      atomic.Pointer[successor] // the last that was started
	successor atomic.Pointer[successor] // that is the master now; set before the node stops
	ceded     atomic.Bool               // another process is the master
}

// Steering steers the ports of the cluster.
func (m *Master) Steering() *steering.Steering { return m.steering }

// Supervisor runs the workers.
func (m *Master) Supervisor() *supervise.Supervisor { return m.supervisor }

// lastWord is how long readers of the events have time for the last ones, when the master ends.
const lastWord = time.Second

// serving permits connections to the master's own node, unless the program decides when.
func (m *Master) serving() {
	if !m.cfg.Node.ManualReady { // else announce does it
		m.steering.Ready(m.links.Mesh.Self().ID)
	}
}

// writePID leaves our process id in the file, where a predecessor, or one of before, may have its own.
func (m *Master) writePID(before ...int) error {
	if m.predecessor != nil {
		before = append(before, m.predecessor.PID)
	}
	return m.manager.writePID(before...)
}

// address returns the address of a port, which it reserves.
func (m *Master) address(ctx context.Context, key portgroup.Key) (net.Addr, error) {
	if key == (portgroup.Key{}) {
		return nowhere{}, nil
	}
	return m.steering.Address(ctx, key)
}

// standIn returns a listener that stands for a port, in a master that does not listen.
func (m *Master) standIn(ctx context.Context, key portgroup.Key) (net.Listener, error) {
	addr, err := m.address(ctx, key)
	if err != nil {
		return nil, err
	}
	return serve.NewIdleListener(addr), nil
}

// stop stops the workers and our own server at the same time, and waits until no worker is left. If the node is hurried, the
// workers that are left are killed.
//
// It waits until a successor has returned what was lent to it.
func (m *Master) stop(cause error) error {
	ctx, n := m.node.Stopping(), m.node
	switch next := m.successor.Load(); {
	case next != nil:
		<-next.told
		return errline.Join(n.EndServing(ctx, m.cfg.Node.LameDuck), m.close())
	case m.probation.isOn() && m.probation.giveUp(cause):
		return m.giveBack()
	}
	pid1.Init.Stopping()
	m.manager.tell(m.manager.notifier.Stopping())
	m.journal.Emit(control.Event{Kind: control.EventStopping, ID: -1})
	n.Servers.BeginDrain() // it may take a moment until the port is ours to leave
	m.settle()
	if m.ceded.Load() {
		return errline.Join(n.EndServing(ctx, m.cfg.Node.LameDuck), m.close())
	}
	m.steering.Seal(ctx)
	deadline, _ := ctx.Deadline()
	m.supervisor.Send(lifecycle.Stop{Timeout: max(0, time.Until(deadline))})
	err := n.EndServing(ctx, m.cfg.Node.BriefLameDuck())
	select {
	case <-m.supervisor.Done():
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			m.supervisor.Send(lifecycle.Cut{})
		}
	}
	err = errline.Join(m.supervisor.Err(), err) // each worker that has not left is killed when its time is over
	if m.links.Sharing != nil {
		m.links.Sharing.Close() // what nodes that were killed have lent
	}
	return errline.Join(err, errline.Join(m.leaveNothing(ctx), m.close()))
}

// settle waits until no successor has our workers and ports, or will get them.
func (m *Master) settle() {
	m.supervisor.Send(lifecycle.Ending{})
	hurried := m.node.Hurried()
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

// close releases what the master holds. What was handed over to a successor stays.
func (m *Master) close() (err error) {
	if m.forgetWorkers != nil {
		m.supervisor.Send(lifecycle.Quit{})
		<-m.supervisor.Done()
	}
	m.journal.Close() // its readers are on the mesh, and need its end before the mesh closes
	m.journal.AwaitReaders(lastWord)
	if m.manager.notifier != nil {
		m.manager.notifier.Close()
	}
	if m.listeners != nil {
		err = m.listeners.Close()
	}
	if m.manager.unlink != nil {
		err = errline.Join(err, m.manager.unlink())
	}
	if m.links.Mesh != nil {
		err = errline.Join(err, m.links.Close())
	}
	err = errline.Join(err, m.claim.leave(m.ceded.Load() || m.probation.isOn()))
	if m.probation != nil {
		err = errline.Join(err, m.probation.close())
	}
	if m.steering != nil {
		err = errline.Join(err, m.steering.Close())
	}
	return err
}

// watchSupervisor ends the node when the supervisor has given up. It is a goroutine that ends with the supervisor.
func (m *Master) watchSupervisor() {
	<-m.supervisor.Done()
	m.node.Stop(nil, m.cfg.Node.StopTimeout) // the reason is the supervisor's error
}

// announce reports that the cluster is ready to the predecessor and the service manager. It is a goroutine that ends with the
// node.
func (m *Master) announce() {
	n := m.node
	if !n.Await(n.OwnReadiness()) {
		return
	}
	m.steering.Ready(n.Mesh.Self().ID)
	if !n.Await(n.AllReadiness()) {
		return
	}
	pid1.Init.Ready() // before the predecessor ends
	if m.probation != nil {
		m.show()
		if !m.probation.finish(n.Begun()) {
			return
		}
		m.supervisor.Send(lifecycle.Release{})
	}
	m.manager.tell(m.manager.notifier.Ready(m.summary(m.accepting())))
	m.manager.notifier.StartWatchdog(func() bool { _, ok := m.supervisor.State(); return ok }, m.manager.tell)
}

// summary says in a line how the cluster is.
func (m *Master) summary(nodes int) string {
	return fmt.Sprintf("%d nodes serve %v, steered by %v", nodes, m.node.Addr(), m.steering.Level())
}

// accepting returns how many nodes are meant to accept connections.
func (m *Master) accepting() int {
	state, _ := m.supervisor.State()
	return state.Nodes
}

// nowhere is the address of a master that does not know where its workers listen.
type nowhere struct{}

var _ net.Addr = nowhere{}

// Network returns "tcp".
func (nowhere) Network() string { return "tcp" }

// String returns a hyphen.
func (nowhere) String() string { return "-" }
