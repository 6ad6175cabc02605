package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/local"
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
	return n.order(ctx, lifecycle.Order{Kind: lifecycle.Other, Name: doingTakeover})
}

// doingTakeover is what Status says of a takeover.
const doingTakeover = "takeover"

func (n *Node) takeover(ctx context.Context) error {
	m := n.master
	select {
	case m.custody <- struct{}{}:
	case <-n.begun:
		return ErrStopping
	}
	m.opts.Logger.Info("handing over to a successor")
	m.journal.Emit(control.Event{Kind: control.EventHandingOver, ID: n.ID(), PID: os.Getpid()})
	t, err := n.startSuccessor()
	if err != nil {
		<-m.custody
		return fmt.Errorf("takeover: the successor cannot be started, this master goes on: %w", err)
	}
	patience, cancel := context.WithTimeoutCause(ctx, m.opts.BootTimeout,
		fmt.Errorf("it was not the master, and ready, within %v: %w", m.opts.BootTimeout, context.DeadlineExceeded))
	defer cancel()
	patience, cancelStop := n.untilStop(patience)
	defer cancelStop()
	if err = t.run(patience); err == nil && t.succeed() {
		return nil
	}
	if n.isStopping() {
		err = ErrStopping
	}
	return t.callOff(err)
}

// untilStop returns a context that is also done when the node begins to stop.
func (n *Node) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with ctx
		select {
		case <-n.begun:
			cancel(ErrStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// takeover is a successor, as its predecessor has it: from its start until it is the master, or has ended. One goroutine has
// it; what a master does meanwhile it does as ever, see [lifecycle.Lend].
type takeover struct {
	node     *Node
	process  *os.Process
	handoff  handoff
	steps    <-chan successionStep
	ended    chan struct{} // closed when the process has ended
	end      error         // how, see os/exec.Cmd.Wait; readable after ended
	upstream *upstream     // to ask the successor; nil before it is the master
	lent     bool          // it may have the workers and the port
	free     bool          // it may have the lock
	leaving  bool          // it has said that it gives back
	back     bool          // it has given back
	killed   bool          // it had to be

	told chan struct{} // closed when all know that it is the master
	at   time.Time     // when it became the master
}

// startSuccessor starts the program as a master in waiting.
func (n *Node) startSuccessor() (*takeover, error) {
	ours, theirs, err := proc.SocketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close() // the successor has it then
	environ, err := boot.Handover{
		Cluster: n.Name(), PID: os.Getpid(), Directory: n.master.directory.Path(), Generation: n.Generation(), Nodes: n.accepting(),
		Talk: proc.ExtraFile,
	}.Environ()
	if err != nil {
		return nil, errline.Join(err, ours.Close())
	}
	cmd, err := proc.Self(append(n.master.notifier.Environ(), environ)...)
	if err != nil {
		return nil, errline.Join(err, ours.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{theirs}
	pid1.Init.Share(cmd)
	if err := cmd.Start(); err != nil {
		return nil, errline.Join(fmt.Errorf("start %s: %w", cmd.Path, err), ours.Close())
	}
	pid1.Init.Heir(cmd.Process.Pid)
	t := &takeover{
		node: n, process: cmd.Process, handoff: newHandoff(ours), ended: make(chan struct{}), told: make(chan struct{}),
	}
	t.steps = t.handoff.steps()
	n.master.successors.Go(func() { // ends with the successor, or with us
		t.end = cmd.Wait()
		close(t.ended)
	})
	return t, nil
}

// run makes the successor the master.
func (t *takeover) run(ctx context.Context) error {
	if err := t.await(ctx, stepPrepared); err != nil {
		return err
	}
	if err := t.lend(ctx); err != nil {
		return err
	}
	if err := t.handoff.say(stepGo); err != nil {
		return err
	}
	return t.await(ctx, stepDone)
}

// await waits for a step of the successor.
func (t *takeover) await(ctx context.Context, want successionStep) error {
	steps := t.steps
	var quiet <-chan time.Time
	for {
		select {
		case step, ok := <-steps:
			switch {
			case !ok: // it is about to end, and how says more
				steps, quiet = nil, time.After(wordTimeout)
			case step == want && !isClosed(t.ended):
				return nil
			case step == stepStop:
				t.leaving = true
				t.node.opts.Logger.Info("stopping, as the successor was told to", "pid", t.process.Pid)
				t.node.stop(nil, t.node.opts.StopTimeout)
				return ErrStopping
			case step == stepLeave:
				t.leaving = true
				return errors.New("it gives up")
			}
		case <-quiet:
			return errors.New("it has closed the connection to its predecessor")
		case <-t.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lend leaves the workers and the port to the successor, and frees the lock.
func (t *takeover) lend(ctx context.Context) error {
	m := t.node.master
	t.lent = true
	m.supervisor.send(lifecycle.Lend{LastID: m.directory.LastOwner().LastID})
	if err := m.steering.Hold(ctx); err != nil {
		return err
	}
	upstream, err := t.node.followSuccessor()
	if err != nil {
		return err
	}
	t.upstream = upstream
	if err := m.spareIDs(); err != nil {
		return err
	}
	t.free = true
	return m.currentLock().HandOver()
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

// succeed ends this node, which is a master no more: its server drains, with the successor as the keeper of the group. It
// returns false if the node was told to stop before: then the successor has to stop, too.
func (t *takeover) succeed() bool {
	n, m := t.node, t.node.master
	if !n.depose(t) {
		return false
	}
	m.opts.Logger.Info("handed over", "successor", t.process.Pid)
	m.journal.Emit(control.Event{Kind: control.EventHandedOver, ID: -1, PID: t.process.Pid})
	if pid1.Init == nil { // else the service manager's process is the init, which stays
		m.tellManager(m.notifier.MainPID(t.process.Pid))
	}
	m.notifier.Close()
	m.supervisor.send(lifecycle.Quit{})
	_ = t.handoff.conn.Close() // which is the answer
	close(t.told)
	return true
}

// depose begins the end of a master that has a successor, unless its end has begun. From here on the workers, the port and
// the lock are another's, and nothing that this process does touches them.
func (n *Node) depose(t *takeover) bool {
	n.stopMu.Lock()
	defer n.stopMu.Unlock()
	if n.stopping != nil {
		return false
	}
	t.at = time.Now()
	n.listeners.SteerBy(t.upstream)
	n.master.successor, n.master.ceded = t, true
	n.master.steering.GiveUp()
	n.master.forgetWorkers()
	n.stopLocked(nil, n.opts.StopTimeout)
	return true
}

// passOn lets the successor have a signal to stop that has come to us, if its sender could not know that we have a
// successor.
func (n *Node) passOn(sig os.Signal) {
	if n.master == nil {
		return
	}
	n.stopMu.Lock()
	t := n.master.successor
	n.stopMu.Unlock()
	if t == nil || time.Since(t.at) > passedOn {
		return
	}
	n.opts.Logger.Info("stopping: passed on to the successor", "signal", sig.String(), "successor", t.process.Pid)
	_ = t.process.Signal(syscall.SIGTERM) // it may have ended
}

// callOff ends the takeover for the reason why: the successor gives back what it has, and this master goes on.
func (t *takeover) callOff(why error) error {
	m := t.node.master
	if isClosed(t.ended) && t.end != nil {
		why = fmt.Errorf("process %d: %w (%w)", t.process.Pid, t.end, why)
	}
	t.recall()
	err := t.regain()
	pid1.Init.Ready() // it is us whom process 1 follows
	if t.node.isStopping() {
		pid1.Init.Stopping()
	}
	if t.killed && t.free && !t.node.isHurried() {
		m.late = fmt.Errorf("successor (pid %d) did not give back in time and was killed", t.process.Pid)
	}
	<-m.custody
	t.reap()
	if errors.Is(why, ErrStopping) {
		return errline.Join(why, err)
	}
	return fmt.Errorf("takeover: the successor has failed, this master goes on: %w", errline.Join(why, err))
}

// How long a successor may take, when a takeover is called off, for each step of its way out.
const (
	noTimeout   = 500 * time.Millisecond           // from no to leave, which takes no signal
	wordTimeout = 5 * time.Second                  // from the signal to leave, or to its end
	backTimeout = local.LongestLeave + wordTimeout // from leave to back
)

// recall makes the successor give back what it has, and ends one that has nothing to give or does not.
func (t *takeover) recall() {
	if t.free {
		_ = t.handoff.say(stepNo) // it may have ended
		t.listen(noTimeout, func() bool { return t.leaving })
	}
	if !t.leaving {
		_ = t.process.Signal(syscall.SIGTERM) // it may have ended
		t.listen(wordTimeout, func() bool { return t.free && t.leaving })
	}
	if t.leaving {
		t.listen(backTimeout, func() bool { return false })
	}
	if !t.back && !isClosed(t.ended) {
		t.kill()
	}
}

// listen takes note of what the successor says, until enough returns true or nothing more is to come.
func (t *takeover) listen(patience time.Duration, enough func() bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !enough() && !t.back && !isClosed(t.ended) {
		select {
		case step, ok := <-t.steps:
			switch {
			case !ok:
				t.steps = nil
			case step == stepLeave || step == stepStop:
				t.leaving = true
			case step == stepBack:
				t.leaving, t.back = true, true
			}
		case <-t.ended:
		case <-limit.C:
			return
		case <-t.node.hurried:
			return
		}
	}
}

func (t *takeover) kill() {
	t.killed = true
	t.node.opts.Logger.Warn("successor is killed", "pid", t.process.Pid)
	_ = t.process.Kill() // it may have ended
	<-t.ended
}

// regain takes the lock back, and the workers and the port with it. Where that cannot be, as yet another process has become
// the master, this node is a master no more.
func (t *takeover) regain() error {
	n, m := t.node, t.node.master
	if !t.lent {
		return nil
	}
	if t.upstream != nil {
		t.upstream.forget()
	}
	if t.free {
		if err := m.takeLock(); err != nil {
			err = fmt.Errorf("the lock was not to be had again: %w", err)
			n.listeners.SteerBy(t.upstream)
			m.ceded = true
			m.steering.GiveUp()
			m.forgetWorkers()
			n.stop(err, n.opts.StopTimeout)
			m.supervisor.send(lifecycle.Quit{})
			return err
		}
	}
	m.show()
	err := m.writePID(t.process.Pid)
	last := m.directory.LastOwner().LastID
	m.steering.Release()
	m.supervisor.send(lifecycle.TakeUp{LastID: last, Ending: n.isStopping()})
	return err
}

// reapMargin is what a successor that has given back gets beyond its own time-out.
const reapMargin = time.Second

// reap waits for the end of a successor that has given back, whose requests in flight finish. Its node ends the connection when it
// has ended itself; a program that goes on then is ended by a signal, which nobody catches any more.
func (t *takeover) reap() {
	limit := time.NewTimer(t.node.opts.StopTimeout + reapMargin)
	defer limit.Stop()
	signaled := false
	for !isClosed(t.ended) {
		select {
		case <-t.ended:
		case _, ok := <-t.steps:
			if !ok {
				t.steps = nil
				limit.Reset(wordTimeout)
			}
		case <-t.node.hurried:
			t.kill()
		case <-limit.C:
			if t.steps != nil || signaled {
				t.kill()
				continue
			}
			signaled = true
			_ = t.process.Signal(syscall.SIGTERM) // it may have ended
			limit.Reset(t.node.opts.StopTimeout)
		}
	}
	_ = t.handoff.conn.Close()
}
