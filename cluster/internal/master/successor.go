package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/masterlink"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/internal/errline"
	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
)

// awaitPredecessor waits until the predecessor, to which the descriptor talk is a socket, has freed the lock. The probation
// that it returns is nil when the predecessor was killed before: then the lock is free, too.
func awaitPredecessor(ctx context.Context, talk uintptr) (*probation, error) {
	file := os.NewFile(talk, "predecessor")
	conn, err := net.FileConn(file)
	if err = errline.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("predecessor: %w", err)
	}
	t := newLine(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	err = t.say(lifecycle.WordPrepared)
	var word lifecycle.Word
	if err == nil {
		word, err = t.hear()
	}
	if !stop() {
		err = ctx.Err() // a word that has arrived is void: the predecessor sees our end
	}
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
		return nil, conn.Close()
	case err == nil && word != lifecycle.WordGo:
		err = fmt.Errorf("it says %q: the takeover is called off", word)
	}
	if err != nil {
		return nil, errline.Join(fmt.Errorf("predecessor: %w", err), conn.Close())
	}
	return newProbation(t), nil
}

// probation is the time in which a successor is the master and its predecessor may want all back: from the lock to the answer to
// done. A master on probation that is to stop never stops a worker: it returns all, and the predecessor decides.
type probation struct {
	line line
	over chan struct{} // closed when the predecessor has left the cluster to us, or is gone
	no   chan struct{} // closed when it has called the takeover off

	mu   sync.Mutex
	word lifecycle.Word // guarded by mu; the first of done, leave and stop that was said
}

func newProbation(l line) *probation {
	p := &probation{line: l, over: make(chan struct{}), no: make(chan struct{})}
	go p.listen()
	return p
}

// listen is a goroutine that ends with the connection.
func (p *probation) listen() {
	defer close(p.over)
	for {
		word, err := p.line.hear()
		if err != nil {
			return
		}
		if word == lifecycle.WordNo && !closed.Is(p.no) {
			close(p.no)
		}
	}
}

// isOn reports whether the predecessor may still get all back. A nil probation is over.
func (p *probation) isOn() bool { return p != nil && (!closed.Is(p.over) || closed.Is(p.no)) }

// claim returns whether word is the first of done, leave and stop.
func (p *probation) claim(word lifecycle.Word) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.word != "" {
		return false
	}
	p.word = word
	return true
}

// finish reports to the predecessor that this process is the master and ready. It returns whether the predecessor has left the
// cluster to us then; it does so at once, unless it stops.
func (p *probation) finish(ended <-chan struct{}) bool {
	if closed.Is(ended) || !p.claim(lifecycle.WordDone) {
		return false
	}
	_ = p.line.say(lifecycle.WordDone) // a predecessor that is gone has left it to us
	select {
	case <-p.over:
	case <-p.no:
	case <-ended:
		return false
	}
	return !closed.Is(p.no)
}

// answerTimeout bounds how long a successor that is to stop waits for the answer to its done.
const answerTimeout = 2 * time.Second

// giveUp reports to the predecessor, for the reason cause, that it gets all back. It returns false if the cluster is ours by now.
func (p *probation) giveUp(cause error) bool {
	if !p.isOn() {
		return false
	}
	word := lifecycle.WordStop
	if cause != nil || closed.Is(p.no) {
		word = lifecycle.WordLeave
	}
	if !p.claim(word) { // we have said done
		select {
		case <-p.over:
		case <-p.no:
		case <-time.After(answerTimeout): // it hangs, and will learn that it has a successor
		}
		if word = lifecycle.WordLeave; !closed.Is(p.no) {
			return false
		}
	}
	return p.line.say(word) == nil
}

// close ends the connection.
func (p *probation) close() error {
	err := p.line.conn.Close()
	<-p.over
	return err
}

// watchProbation returns all when the predecessor wants it, and makes this master known when the predecessor is gone. It is a
// goroutine that ends with the node.
func (m *Master) watchProbation() {
	n := m.node
	select {
	case <-m.probation.no:
		m.cfg.Node.Logger.Warn("the old master has called the takeover off", "pid", m.predecessor.PID)
		n.Stop(nil, m.cfg.Node.StopTimeout)
	case <-m.probation.over:
		m.show()
	case <-n.Done():
	}
}

// show makes this master the one that others find.
func (m *Master) show() {
	if err := inside.Of(m.links.Mesh).ShowMaster(); err != nil {
		m.cfg.Node.Logger.Warn("this master cannot be found by other processes", "error", err)
	}
}

// giveBack ends a master on probation: its server drains, and the predecessor gets the workers, the port and the lock as soon as
// no connection can reach us.
func (m *Master) giveBack() error {
	n := m.node
	m.cfg.Node.Logger.Info("giving the workers back to the old master", "pid", m.predecessor.PID)
	served := make(chan error, 1)
	go func() { served <- n.EndServing(n.Stopping(), m.cfg.Node.LameDuck) }() // ends with stopping
	<-n.HasLeft()
	err := m.surrender(n.Stopping())
	if err == nil {
		_ = m.probation.line.say(lifecycle.WordBack) // it sees our end, too
	}
	return errline.Join(errline.Join(err, <-served), m.close())
}

// surrender leaves the workers, the port and the lock to another master, and touches them no more.
func (m *Master) surrender(ctx context.Context) error {
	if err := m.steering.Hold(ctx); err != nil { // before the links end to nodes that could attach a program
		return err
	}
	m.ceded.Store(true)
	m.forgetWorkers()
	m.supervisor.Send(lifecycle.Quit{})
	<-m.supervisor.Done()
	m.steering.GiveUp()
	return m.claim.current().HandOver()
}

// refuse ends a takeover in which workers do not answer us: their master is alive, and knows better whether they hang. Perhaps
// this process had no CPU.
func (m starting) refuse(absent []peer.Info) error {
	if !m.probation.isOn() {
		return nil // no other master has them
	}
	var pids []int
	for _, info := range absent {
		if boot.HasRole(info.PID) {
			pids = append(pids, info.PID)
		}
	}
	if len(pids) == 0 {
		return nil
	}
	return fmt.Errorf("takeover: the workers with the pids %v did not answer their new master for %v, so that the old one keeps them: "+
		"try again when all nodes are ready", pids, m.cfg.LivenessTimeout)
}

// meetPredecessor takes part in the control stream of a master that has handed over, while it drains.
func (m starting) meetPredecessor() error {
	isPredecessor := func(info peer.Info) bool {
		return masterlink.IsMaster(info) && info.Generation < m.links.Mesh.Self().Generation
	}
	for _, info := range m.links.Mesh.Peers() {
		if isPredecessor(info) {
			m.steering.Precede(info.ID)
			m.steering.Expect(info.ID, info.PID)
		}
	}
	_, err := m.links.Mesh.OnStream(handoverStream(m.links.Mesh.Self().Generation), isPredecessor, func(stream *peer.Stream) {
		l, info := protocol.NewWorker(stream), stream.Peer()
		m.steering.Linked(info.ID, info.PID, l)
		if err := l.Serve(fromPredecessor{m.steering.Steerer(info.ID, true), m.Master, info.ID}); err != nil {
			m.links.Cut(info, err.Error())
		}
	})
	m.links.Mesh.OnEvent(func(e peer.Event) {
		if e.Type == peer.Left && e.Reason != peer.ReasonCut && isPredecessor(e.Peer) {
			m.steering.Gone(e.Peer.ID)
		}
	})
	return err
}

// fromPredecessor handles the messages of a master that has handed over, while it drains: those of a worker.
type fromPredecessor struct {
	protocol.Steerer
	master *Master
	id     int
}

var _ protocol.FromWorker = fromPredecessor{}

// Hello takes over the ports and listeners of the predecessor.
func (p fromPredecessor) Hello(hello protocol.Hello) {
	p.master.steering.Inherit(p.id, hello.Listeners, p.master.greeted)
	p.master.steering.Ready(p.id)
}

func (p fromPredecessor) Ready()                   {}
func (p fromPredecessor) Drained(protocol.Drained) {}
func (p fromPredecessor) Failed(string)            {}
