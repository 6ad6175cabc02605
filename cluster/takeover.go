package cluster

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
	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/peer"
)

// Takeover replaces the master itself: it starts the program as it is on disk now, hands the workers over to it, and
// leaves, with Wait returning nil. The workers serve on and notice nothing; a Reload of the new master then replaces them.
// A successor that does not become the master within Options.BootTimeout is ended, and this one goes on.
//
// A stop in the meantime, of this master or of its successor, stops the whole cluster: the successor gives back what it
// has, and is ended. A takeover that has succeeded leaves this process nothing to stop but itself; only a signal to stop that
// comes within a second of that is passed on to the successor, as its sender could not know.
//
// In a container the init that is process 1 stays, and follows the successor.
func (n *Node) Takeover(ctx context.Context) error {
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Takeover, Name: doingTakeover})
}

// doingTakeover is what Status says of a takeover.
const doingTakeover = "takeover"

// successor is the process that is to be the next master, as this one has it. What is done when is the rules' of
// [lifecycle].
type successor struct {
	process  *os.Process
	handoff  handoff
	upstream *upstream     // to ask it, from when it may have the ports
	told     chan struct{} // closed when all know that it is the master
	at       time.Time     // when it became the master
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
	next := &successor{process: cmd.Process, handoff: newHandoff(conn), told: make(chan struct{})}
	s.master.next.Store(next)
	tell(lifecycle.SuccessorStarted{PID: pid})
	go next.listen(tell)
	tell(lifecycle.SuccessorEnded{PID: pid, Err: cmd.Wait()})
}

// listen tells what the successor says. It is a goroutine that ends with the connection.
func (x *successor) listen(tell func(lifecycle.Event)) {
	for {
		word, err := x.handoff.hear()
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
	environ, err := boot.Handover{
		Cluster: s.Name(), PID: os.Getpid(), Directory: s.master.directory.Path(), Generation: s.Generation(), Nodes: nodes,
		Talk: proc.ExtraFile,
	}.Environ()
	if err != nil {
		return nil, nil, errline.Join(err, ours.Close())
	}
	cmd, err := proc.Self(append(s.master.notifier.Environ(), environ)...)
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
func (s supervised) Say(word lifecycle.Word) { _ = s.master.next.Load().handoff.say(word) } // it may have ended

// Signal signals the successor.
func (s supervised) Signal(sig syscall.Signal) { _ = s.master.next.Load().process.Signal(sig) } // it may have ended

// HangUp ends the connection to the successor.
func (s supervised) HangUp() { _ = s.master.next.Load().handoff.conn.Close() }

// LastID returns the last id that was given out.
func (s supervised) LastID() int { return s.master.directory.LastOwner().LastID }

// Lend leaves the ports to the successor, and frees the lock.
func (s supervised) Lend(ctx context.Context) (lent lifecycle.Lent) {
	m := s.master
	if lent.Err = m.steering.Hold(ctx); lent.Err != nil {
		return lent
	}
	if m.next.Load().upstream, lent.Err = s.followSuccessor(); lent.Err != nil {
		return lent
	}
	if lent.Err = m.spareIDs(); lent.Err != nil {
		return lent
	}
	return lifecycle.Lent{Free: true, Err: m.currentLock().HandOver()}
}

// followSuccessor lets the successor know what we have, and us ask it, as a worker does.
func (n *Node) followSuccessor() (*upstream, error) {
	u := newUpstream(n.opts, n.links.mesh, n.listeners)
	u.held = n.master.steering.Ports()
	isSuccessor := func(info peer.Info) bool { return isMaster(info) && info.Generation > n.Generation() }
	forget, err := n.links.mesh.OnStream(successionStream(n.Generation()+1), isSuccessor, u.serveLink)
	if err != nil {
		return nil, err
	}
	u.forget = forget
	return u, nil
}

// Depose begins the end of a master that has a successor, unless its end has begun: its server drains, with the successor as
// the steerer of the ports. From here on the workers, the ports and the lock are another's, and nothing that this process does
// touches them.
func (s supervised) Depose() bool {
	s.stopMu.Lock()
	defer s.stopMu.Unlock()
	if s.stopping != nil {
		return false
	}
	next := s.master.next.Load()
	next.at = time.Now()
	s.cede(next)
	s.master.successor = next
	s.stopLocked(nil, s.opts.StopTimeout)
	return true
}

// cede leaves everything to another master.
func (s supervised) cede(next *successor) {
	s.listeners.SteerBy(next.upstream)
	s.master.ceded.Store(true)
	s.master.steering.GiveUp()
	s.master.forgetWorkers()
}

// HandedOver tells everybody that the successor is the master.
func (s supervised) HandedOver() {
	m := s.master
	if pid1.Init == nil { // else the service manager's process is the init, which stays
		m.tellManager(m.notifier.MainPID(m.successor.process.Pid))
	}
	m.notifier.Close()
	s.HangUp() // which is the answer
	close(m.successor.told)
}

// passOn lets the successor have a signal to stop that has come to us, if its sender could not know that we have a
// successor.
func (n *Node) passOn(sig os.Signal) {
	if n.master == nil {
		return
	}
	n.stopMu.Lock()
	next := n.master.successor
	n.stopMu.Unlock()
	if next == nil || time.Since(next.at) > passedOn {
		return
	}
	n.opts.Logger.Info("stopping: passed on to the successor", "signal", sig.String(), "successor", next.process.Pid)
	_ = next.process.Signal(syscall.SIGTERM) // it may have ended
}

// Regain takes the lock back, and the workers and the ports with it. Where that cannot be, as yet another process has become
// the master, this node is a master no more.
func (s supervised) Regain(what lifecycle.Regain) (all lifecycle.Regained) {
	m, next := s.master, s.master.next.Load()
	defer s.isMasterAgain()
	if !what.Lent {
		return all
	}
	if next.upstream != nil {
		next.upstream.forget()
	}
	if what.Free {
		if err := m.takeLock(); err != nil {
			err = fmt.Errorf("the lock was not to be had again: %w", err)
			s.cede(next)
			s.stop(err, s.opts.StopTimeout)
			return lifecycle.Regained{Lost: true, Err: err}
		}
	}
	m.show()
	all.Err = m.writePID(next.process.Pid)
	all.LastID = s.LastID()
	m.steering.Release()
	return all
}

// isMasterAgain tells process 1 that it is us whom it follows.
func (s supervised) isMasterAgain() {
	pid1.Init.Ready()
	if s.isStopping() {
		pid1.Init.Stopping()
	}
}

// Stop begins the stop of the cluster.
func (s supervised) Stop() { s.stop(nil, s.opts.StopTimeout) }
