package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/pid1"
	"github.com/multinode-go/multinode/peer"
)

// successionVariable is the environment variable in which a successor finds what its predecessor tells it.
const successionVariable = "MULTINODE_SUCCESSION"

// successionStream names the stream on which a master that has handed over asks its successor, of the given generation, as a
// worker does. A successor has one to its predecessor, and later another one to its own successor.
func successionStream(generation int) string { return fmt.Sprintf("succession-%d", generation) }

// succession is what a master tells its successor at its start.
type succession struct {
	Cluster    string  `json:"cluster"`
	Directory  string  `json:"directory"`
	PID        int     `json:"pid"`        // of the predecessor
	Generation int     `json:"generation"` // of the predecessor
	Nodes      int     `json:"nodes"`      // that accept connections
	Talk       uintptr `json:"talk"`       // descriptor of a Unix socket to the predecessor
}

// What the two say to each other, a line each.
type successionStep string

const (
	stepPrepared successionStep = "prepared" // successor: I have come to Listen, and wait for the lock
	stepGo       successionStep = "go"       // predecessor: the lock is free
	stepDone     successionStep = "done"     // successor: I am the master, and ready
)

// handoff carries the steps.
type handoff struct {
	conn net.Conn
	in   *json.Decoder
}

func newHandoff(conn net.Conn) handoff { return handoff{conn: conn, in: json.NewDecoder(conn)} }

func (t handoff) say(step successionStep) error { return json.NewEncoder(t.conn).Encode(step) }

// hear waits for a step.
func (t handoff) hear(ctx context.Context, want successionStep) error {
	stop := context.AfterFunc(ctx, func() { _ = t.conn.SetReadDeadline(time.Unix(1, 0)) }) // it is over at once
	defer stop()
	var got successionStep
	if err := t.in.Decode(&got); err != nil {
		return join(err, ctx.Err())
	}
	if got != want {
		return fmt.Errorf("%q where %q was to come", got, want)
	}
	return nil
}

// Takeover replaces the master itself: it starts the program as it is on disk now, hands the workers over to it, and
// leaves, with Wait returning nil. The workers serve on and notice nothing; a Reload of the new master then replaces them.
// A successor that does not become the master within Options.BootTimeout is ended, and this one goes on.
//
// In a container the init that is process 1 stays, and follows the successor.
func (n *Node) Takeover(ctx context.Context) error {
	return n.operate(ctx, true, "takeover", n.takeover)
}

func (n *Node) takeover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.opts.BootTimeout)
	defer cancel()
	n.opts.Logger.Info("handing over to a successor")
	n.master.journal.emit(Event{Kind: EventHandingOver, ID: n.ID(), PID: os.Getpid()})
	if err := n.handOver(ctx); err != nil {
		return fmt.Errorf("takeover: the successor has failed, this master goes on: %w", err)
	}
	return nil
}

// handOver starts a successor and makes it the master.
func (n *Node) handOver(ctx context.Context) (err error) {
	successor, handoff, err := n.startSuccessor()
	if err != nil {
		return err
	}
	defer func() {
		err = join(err, handoff.conn.Close())
	}()
	ended := make(chan error, 1)
	go func() { ended <- successor.Wait() }() // ends with the successor, or with us
	step := func(do func() error) {
		if err == nil {
			err = do()
		}
	}
	step(func() error { return handoff.hear(ctx, stepPrepared) })
	var resume func() error
	step(func() (err error) {
		resume, err = n.master.hold(ctx)
		return err
	})
	var upstream *upstream
	step(func() (err error) {
		upstream, err = n.followSuccessor()
		return err
	})
	step(func() error { return handoff.say(stepGo) })
	step(func() error { return handoff.hear(ctx, stepDone) })
	if err == nil {
		n.opts.Logger.Info("handed over", "successor", successor.Process.Pid)
		n.master.journal.emit(Event{Kind: EventHandedOver, ID: -1, PID: successor.Process.Pid})
		if pid1.Init == nil { // else the service manager's process is the init, which stays
			n.master.tellManager(n.master.notifier.mainPID(successor.Process.Pid))
		}
		n.succeeded(upstream)
		return nil
	}
	if upstream != nil {
		upstream.forget()
	}
	_ = successor.Process.Kill() // it may be gone already
	if end := <-ended; end != nil {
		err = fmt.Errorf("process %d: %w (%w)", successor.Process.Pid, end, err)
	}
	pid1.Init.Ready() // it is us whom process 1 follows
	if resume != nil {
		err = join(err, resume())
	}
	return err
}

// startSuccessor starts the program as a master in waiting.
func (n *Node) startSuccessor() (*exec.Cmd, handoff, error) {
	program, err := programPath()
	if err != nil {
		return nil, handoff{}, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, handoff{}, err
	}
	defer theirs.Close() // the successor has it then
	value, err := json.Marshal(succession{
		Cluster: n.Name(), PID: os.Getpid(), Directory: n.master.directory.Path(), Generation: n.Generation(), Nodes: n.accepting(),
		Talk: extraFile,
	})
	if err != nil {
		return nil, handoff{}, join(err, ours.Close())
	}
	cmd := exec.CommandContext(context.Background(), program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), successionVariable+"="+string(value))
	cmd.Env = append(cmd.Env, n.master.notifier.environ()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{theirs}
	pid1.Init.Share(cmd)
	if err := cmd.Start(); err != nil {
		return nil, handoff{}, join(fmt.Errorf("start %s: %w", program, err), ours.Close())
	}
	pid1.Init.Heir(cmd.Process.Pid)
	return cmd, newHandoff(ours), nil
}

// hold stops all that this master does with its workers and the port, and frees the lock. resume takes it all up again.
func (m *master) hold(ctx context.Context) (resume func() error, err error) {
	release, err := m.steering.hold(ctx)
	if err != nil {
		return nil, err
	}
	held, again := make(chan struct{}), make(chan struct{})
	m.supervisor.send(call(func() { close(held); <-again }))
	<-held
	var once sync.Once
	resume = func() (err error) {
		once.Do(func() {
			err = join(m.takeLock(), m.links.mesh.ShowMaster())
			release()
			close(again)
		})
		return err
	}
	m.quitHeld = func() { release(); m.supervisor.quitting = true; close(again) }
	if err := m.currentLock().HandOver(); err != nil {
		return nil, join(err, resume())
	}
	return resume, nil
}

// followSuccessor lets the successor know what we have, and us ask it, as a worker does.
func (n *Node) followSuccessor() (*upstream, error) {
	u := newUpstream(n.opts, n.links.mesh, n.seats)
	u.held = n.master.steering.ports()
	isSuccessor := func(info peer.Info) bool { return isMaster(info) && info.Generation > n.Generation() }
	forget, err := n.links.mesh.OnStream(successionStream(n.Generation()+1), isSuccessor, u.serveLink)
	if err != nil {
		return nil, err
	}
	u.forget = forget
	return u, nil
}

// succeeded ends this node, which is a master no more: its server drains, with the successor as the keeper of the group.
func (n *Node) succeeded(u *upstream) {
	n.keeper.set(u)
	n.master.succeeded = true
	n.master.steering.cancel() // the groups are the successor's
	n.master.forgetWorkers()   // and so are new workers
	n.master.quitHeld()
	n.stop(nil, n.opts.StopTimeout)
}

// inheritedSuccession is what this process was told by its predecessor. As with a role, nobody whom the program starts
// is to take it for theirs.
var inheritedSuccession, errInheritedSuccession = inheritSuccession()

func inheritSuccession() (*succession, error) {
	value, ok := os.LookupEnv(successionVariable)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(successionVariable); err != nil {
		return nil, err
	}
	var s succession
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return nil, fmt.Errorf("environment variable %s, which only a master sets: %w", successionVariable, err)
	}
	holdStderr(s.Talk)
	return &s, nil
}

// await waits until the predecessor has freed the lock, and returns what to tell it when this process is the master.
func (s *succession) await() (done func() error, err error) {
	file := os.NewFile(s.Talk, "predecessor")
	conn, err := net.FileConn(file)
	if err = join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("predecessor: %w", err)
	}
	t := newHandoff(conn)
	err = t.say(stepPrepared)
	if err == nil {
		err = t.hear(context.Background(), stepGo)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) { // it was killed: the lock is free
		return conn.Close, nil
	}
	if err != nil {
		return nil, join(fmt.Errorf("predecessor: %w", err), conn.Close())
	}
	return func() error { return join(t.say(stepDone), conn.Close()) }, nil
}

// refuse ends a takeover in which workers do not answer us: their master lives, and knows better whether they hang. Perhaps it
// was us who had no CPU.
func (m *master) refuse(absent []peer.Info) error {
	if m.predecessor == nil || os.Getppid() != m.predecessor.PID {
		return nil // nobody else has them
	}
	var pids []int
	for _, info := range absent {
		if isWorkerProcess(info.PID) {
			pids = append(pids, info.PID)
		}
	}
	if len(pids) == 0 {
		return nil
	}
	return fmt.Errorf("takeover: the workers with the pids %v did not answer their new master for %v, so that the old one keeps them: "+
		"try again when all nodes are ready", pids, m.opts.LivenessTimeout)
}

// meetPredecessor takes part in the control stream of a master that has handed over, while it drains.
func (m *master) meetPredecessor() error {
	isPredecessor := func(info peer.Info) bool { return isMaster(info) && info.Generation < m.links.mesh.Self().Generation }
	for _, info := range m.links.mesh.Peers() {
		if isPredecessor(info) {
			m.steering.expect(info.ID, info.PID)
		}
	}
	_, err := m.links.mesh.OnStream(successionStream(m.links.mesh.Self().Generation), isPredecessor, func(stream *peer.Stream) {
		l, info := newLink(stream), stream.Peer()
		m.steering.enter(info.ID, info.PID, l.ask)
		err := l.serve(
			func(told message) {
				if told.Kind == kindHello {
					m.steering.inheritAll(info.ID, told.Seats, m.greeted)
					m.steering.ready(info.ID)
				}
			},
			func(ctx context.Context, q message) message { return m.steering.answer(ctx, info.ID, q) },
		)
		if err != nil {
			m.links.mesh.Cut(info, err.Error())
		}
	})
	m.links.mesh.OnEvent(func(e peer.Event) {
		if e.Type == peer.Left && e.Reason != peer.ReasonCut && isPredecessor(e.Peer) {
			m.steering.gone(e.Peer.ID)
		}
	})
	return err
}
