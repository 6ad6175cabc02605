package master

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/masterlink"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/peer"
)

// doingTakeover is the name of a takeover in Status.
const doingTakeover = "takeover"

// successor is the process that is to be the next master. The rules of [lifecycle] decide each of its steps.
type successor struct {
	process *os.Process
	line    line
	client  *masterlink.Client // to ask it, from when it may have the ports
	forget  func()             // takes back that we want its stream
	told    chan struct{}      // closed when all know that it is the master
	at      time.Time          // when it became the master
}

// StartSuccessor starts the program as a master in waiting.
func (s supervised) StartSuccessor(nodes int, tell func(lifecycle.Event)) {
	cmd, conn, err := s.startSuccessor(nodes)
	if err != nil {
		tell(lifecycle.SuccessorStarted{Err: err})
		return
	}
	pid := cmd.Process.Pid
	pid1.Init.Heir(pid)
	next := &successor{process: cmd.Process, line: newLine(conn), told: make(chan struct{})}
	s.next.Store(next)
	tell(lifecycle.SuccessorStarted{PID: pid})
	go next.listen(tell)
	tell(lifecycle.SuccessorEnded{PID: pid, Err: cmd.Wait()})
}

// listen passes on the words of the successor. It is a goroutine that ends with the connection.
func (x *successor) listen(tell func(lifecycle.Event)) {
	for {
		word, err := x.line.hear()
		if err != nil {
			tell(lifecycle.SuccessorHungUp{PID: x.process.Pid})
			return
		}
		tell(lifecycle.SuccessorSaid{PID: x.process.Pid, Word: word})
	}
}

func (s supervised) startSuccessor(nodes int) (*exec.Cmd, net.Conn, error) {
	ours, theirs, err := proc.SocketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close() // the successor has it then
	self := s.links.Mesh.Self()
	environ, err := boot.Handover{
		Cluster: self.Cluster, PID: os.Getpid(), Directory: s.claim.directory.Path(), Generation: self.Generation, Nodes: nodes,
		Talk: proc.ExtraFile,
	}.Environ()
	if err != nil {
		return nil, nil, errline.Join(err, ours.Close())
	}
	cmd, err := proc.Self(append(s.manager.notifier.Environ(), environ)...)
	if err != nil {
		return nil, nil, errline.Join(err, ours.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{theirs}
	pid1.Init.Share(cmd)
	if err := cmd.Start(); err != nil {
		return nil, nil, errline.Join(fmt.Errorf("start %s: %w", cmd.Path, err), ours.Close())
	}
	return cmd, ours, nil
}

// Say says a word to the successor.
func (s supervised) Say(word lifecycle.Word) { _ = s.next.Load().line.say(word) } // it may have ended

// Signal signals the successor.
func (s supervised) Signal(sig syscall.Signal) { _ = s.next.Load().process.Signal(sig) } // it may have ended

// HangUp ends the connection to the successor.
func (s supervised) HangUp() { _ = s.next.Load().line.conn.Close() }

// LastID returns the last id that was given out.
func (s supervised) LastID() int { return s.claim.directory.LastOwner().LastID }

// Lend leaves the ports to the successor, and frees the lock.
func (s supervised) Lend(ctx context.Context) (lent lifecycle.Lent) {
	m := s.Master
	if lent.Err = m.steering.Hold(ctx); lent.Err != nil {
		return lent
	}
	if lent.Err = m.followSuccessor(m.next.Load()); lent.Err != nil {
		return lent
	}
	if lent.Err = m.claim.spareIDs(); lent.Err != nil {
		return lent
	}
	return lifecycle.Lent{Free: true, Err: m.claim.current().HandOver()}
}

// followSuccessor reports our listeners to the successor, and sends it our requests, as a worker does.
func (m *Master) followSuccessor(next *successor) (err error) {
	next.client = masterlink.New(masterlink.Config{
		Listeners: m.listeners, Cut: m.links.Cut, Held: m.steering.Ports(), Stop: func(protocol.Stop) {},
	})
	generation := m.links.Mesh.Self().Generation
	isSuccessor := func(info peer.Info) bool { return masterlink.IsMaster(info) && info.Generation > generation }
	next.forget, err = m.links.Mesh.OnStream(handoverStream(generation+1), isSuccessor, func(s *peer.Stream) { next.client.ServeLink(s, s.Peer()) })
	return err
}

// Depose begins the end of a master that has a successor, unless its end has begun: its server drains, with the successor as
// the steerer of the ports. From here on the workers, the ports and the lock are another's, and nothing that this process does
// touches them.
func (s supervised) Depose() bool {
	next := s.next.Load()
	return s.node.StopAfter(func() {
		next.at = time.Now()
		s.cede(next)
		s.successor.Store(next)
	}, s.cfg.Node.StopTimeout)
}

// cede leaves everything to another master.
func (s supervised) cede(next *successor) {
	s.listeners.SteerBy(next.client)
	s.ceded.Store(true)
	s.steering.GiveUp()
	s.forgetWorkers()
}

// HandedOver makes the successor known as the master.
func (s supervised) HandedOver() {
	m, next := s.Master, s.successor.Load()
	if pid1.Init == nil { // else the service manager's process is the init, which stays
		m.manager.tell(m.manager.notifier.MainPID(next.process.Pid))
	}
	m.manager.notifier.Close()
	s.HangUp() // which is the answer
	close(next.told)
}

// passOn passes a signal to stop on to the successor, if its sender could not know that there is one.
func (m *Master) passOn(sig os.Signal) {
	next := m.successor.Load()
	if next == nil || time.Since(next.at) > node.PassedOn {
		return
	}
	m.cfg.Node.Logger.Info("stopping: passed on to the successor", "signal", sig.String(), "successor", next.process.Pid)
	_ = next.process.Signal(syscall.SIGTERM) // it may have ended
}

// Regain takes the lock back, and the workers and the ports with it. Where that cannot be, as yet another process has become
// the master, this node is a master no more.
func (s supervised) Regain(what lifecycle.Regain) (all lifecycle.Regained) {
	m, next := s.Master, s.next.Load()
	defer s.isMasterAgain()
	if !what.Lent {
		return all
	}
	if next.forget != nil {
		next.forget()
	}
	if what.Free {
		if err := m.takeLock(); err != nil {
			err = fmt.Errorf("the lock could not be taken again: %w", err)
			s.cede(next)
			s.node.Stop(err, s.cfg.Node.StopTimeout)
			return lifecycle.Regained{Lost: true, Err: err}
		}
	}
	m.show()
	all.Err = m.writePID(next.process.Pid)
	all.LastID = s.LastID()
	m.steering.Release()
	return all
}

// isMasterAgain makes process 1 follow this process again.
func (s supervised) isMasterAgain() {
	pid1.Init.Ready()
	if s.node.IsStopping() {
		pid1.Init.Stopping()
	}
}
