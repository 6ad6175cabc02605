package simulation

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
	"github.com/multinode-go/multinode/internal/closed"
	"github.com/multinode-go/multinode/peer"
)

// master is the process of a master, with the parts that decide. What package master does around them is done here for the fakes.
type master struct {
	machine    *machine
	info       peer.Info
	steering   *steering.Steering
	supervisor *supervise.Supervisor
	begun      chan struct{} // closed when its stop begins
	beginOnce  sync.Once
	next       *successor // the last one; the supervisor's

	mu      sync.Mutex
	streams []stream // to workers; guarded by mu
	deaf    bool     // it takes no streams any more; guarded by mu
}

var _ supervise.Master = (*master)(nil)

// startMaster starts a master, which takes the lock, and the workers that live. One that succeeds another carries out no order yet.
func (m *machine) startMaster(generation int, succeeds bool) *master {
	x := &master{machine: m, begun: make(chan struct{})}
	m.take(x)
	id, _ := m.nextID()
	x.info = peer.Info{ID: id, Generation: generation, PID: 1000 + id}
	var err error
	x.steering, err = steering.New(steering.Config{
		Kernel: m.kernel, Logger: slog.New(slog.DiscardHandler), Tell: func(control.Event) {},
	})
	m.require(err)
	x.steering.Start(id, nil)
	x.supervisor = supervise.New(supervise.Config{
		Rules: lifecycle.Config{
			Workers: nodes, BootTimeout: 20 * time.Second, StopTimeout: 5 * time.Second, LivenessTimeout: 5 * time.Second,
			LeaveTimeout: 10 * time.Second, MasterID: id, MasterPID: x.info.PID,
		},
		Role: boot.Role{Cluster: "test", Port: port}, NextID: m.nextID, Start: m.start, Adopt: m.adopt,
		Room: func(int) error { return nil }, Steering: x.steering, Tell: func(control.Event) {}, Logger: slog.New(slog.DiscardHandler),
	})
	x.supervisor.Inherit(id - 1)
	if succeeds {
		x.supervisor.Hold("takeover")
	}
	m.mu.Lock()
	m.masters = append(m.masters, x)
	m.mu.Unlock()
	var found []peer.Info
	for _, w := range m.alive() {
		found = append(found, w.info())
	}
	x.supervisor.AdoptAll(found)
	m.running.Go(x.supervisor.Run)
	for _, w := range m.alive() {
		x.link(w)
	}
	select {
	case <-x.supervisor.Greeted():
	case <-time.After(10 * time.Second):
	}
	x.steering.Open()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = x.steering.Address(ctx, port)
	m.require(err)
	x.supervisor.Belong(x, x.begun)
	x.supervisor.Send(lifecycle.Fill{})
	return x
}

// link opens the control stream between a master and a worker.
func (x *master) link(w *worker) {
	m := x.machine
	here, there := newWire(func() time.Duration { return m.below(2 * time.Millisecond) })
	x.mu.Lock()
	isDeaf := x.deaf
	x.streams = append(x.streams, here)
	x.mu.Unlock()
	if isDeaf || !w.add(there) {
		_ = here.Close()
		return
	}
	m.running.Go(func() { _ = x.supervisor.ServeLink(here, w.info()) })
	m.running.Go(func() { w.client.ServeLink(there, x.info) })
}

// leave ends what a master has that is none any more, and touches no worker.
func (x *master) leave() {
	x.mu.Lock()
	x.deaf = true
	streams := x.streams
	x.mu.Unlock()
	x.machine.forget(x)
	x.supervisor.Send(lifecycle.Quit{})
	x.steering.GiveUp()
	for _, s := range streams {
		_ = s.Close()
	}
	<-x.supervisor.Done()
	_ = x.steering.Close()
}

// stop stops the cluster.
func (x *master) stop() {
	x.beginOnce.Do(func() { close(x.begun) })
	x.supervisor.Send(lifecycle.Ending{})
	select {
	case <-x.supervisor.Settled():
	case <-x.supervisor.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	x.steering.Seal(ctx)
	x.supervisor.Send(lifecycle.Stop{Timeout: 5 * time.Second})
	<-x.supervisor.Done()
	x.leave()
}

func (x *master) LeavePorts(left func()) { x.machine.running.Go(left) }
func (x *master) Reloading(bool, int)    {}
func (x *master) Scaled(int)             {}
func (x *master) Stop()                  { x.machine.running.Go(x.stop) }

func (x *master) LastID() int {
	x.machine.mu.Lock()
	defer x.machine.mu.Unlock()
	return x.machine.lastID
}

func (x *master) StartSuccessor(_ int, tell func(lifecycle.Event)) {
	x.machine.mu.Lock()
	x.machine.lastPID++
	pid, fault := x.machine.lastPID, faults[x.machine.random.IntN(len(faults))]
	x.machine.mu.Unlock()
	x.next = &successor{
		machine: x.machine, pid: pid, generation: x.info.Generation + 1, tell: tell, fault: fault,
		words: make(chan lifecycle.Word, 8), term: make(chan struct{}, 8), kill: make(chan struct{}), hungUp: make(chan struct{}),
	}
	x.next.run()
}

func (x *master) Say(word lifecycle.Word) { x.next.words <- word }

func (x *master) Signal(s syscall.Signal) {
	if s == syscall.SIGKILL {
		close(x.next.kill)
		return
	}
	x.next.term <- struct{}{}
}

func (x *master) HangUp() {
	if !closed.Is(x.next.hungUp) {
		close(x.next.hungUp)
	}
}

func (x *master) Lend(ctx context.Context) lifecycle.Lent {
	if err := x.steering.Hold(ctx); err != nil {
		return lifecycle.Lent{Err: err}
	}
	x.machine.free(x)
	return lifecycle.Lent{Free: true}
}

func (x *master) Depose() bool {
	if closed.Is(x.begun) {
		return false
	}
	x.steering.GiveUp()
	return true
}

func (x *master) HandedOver() {
	x.HangUp()
	x.machine.running.Go(x.leave)
}

func (x *master) Regain(what lifecycle.Regain) lifecycle.Regained {
	if what.Free {
		x.machine.take(x)
	}
	if what.Lent {
		x.steering.Release()
	}
	return lifecycle.Regained{LastID: x.LastID()}
}

// fault is what a successor does wrong.
type fault int

const (
	none fault = iota
	dies
	gives // up
	hangs
)

// faults are as many of each as its share is.
var faults = []fault{none, none, none, dies, gives, hangs}

// successor is the process of a master in waiting.
type successor struct {
	machine      *machine
	pid          int
	generation   int
	tell         func(lifecycle.Event)
	fault        fault
	words        chan lifecycle.Word // that its predecessor says
	term         chan struct{}       // gets a value for each SIGTERM
	kill, hungUp chan struct{}       // closed
}

func (s *successor) say(word lifecycle.Word) { s.tell(lifecycle.SuccessorSaid{PID: s.pid, Word: word}) }

var errKilled = errors.New("signal: killed")

// run is the life of a successor until it is the master for good, or has ended.
func (s *successor) run() {
	m := s.machine
	s.tell(lifecycle.SuccessorStarted{PID: s.pid})
	time.Sleep(m.below(50 * time.Millisecond))
	s.say(lifecycle.WordPrepared)
	select {
	case <-s.words: // it is go
	case <-s.term:
		s.end(nil)
		return
	case <-s.kill:
		s.end(errKilled)
		return
	}
	x := m.startMaster(s.generation, true)
	switch s.fault {
	case dies:
		time.Sleep(m.below(time.Second))
		s.die(x)
		return
	case hangs:
		<-s.kill
		s.die(x)
		return
	case gives:
		s.giveBack(x)
		return
	case none:
	}
	select {
	case <-x.supervisor.AllReady():
		s.say(lifecycle.WordDone)
	case <-s.words:
	case <-s.term:
	case <-s.kill:
	}
	select {
	case <-s.hungUp: // all is ours
		x.supervisor.Send(lifecycle.Release{})
		m.setCurrent(x)
	case <-s.kill:
		s.die(x)
	case <-s.words:
		s.giveBack(x)
	case <-s.term:
		s.giveBack(x)
	}
}

func (s *successor) giveBack(x *master) {
	s.say(lifecycle.WordLeave)
	time.Sleep(s.machine.below(20 * time.Millisecond))
	x.leave()
	s.machine.free(x)
	s.say(lifecycle.WordBack)
	s.end(nil)
}

func (s *successor) die(x *master) {
	x.leave()
	s.machine.free(x)
	s.end(errKilled)
}

func (s *successor) end(err error) {
	s.tell(lifecycle.SuccessorHungUp{PID: s.pid})
	s.tell(lifecycle.SuccessorEnded{PID: s.pid, Err: err})
}

// take gives the lock to a master. Nobody else has it.
func (m *machine) take(x *master) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != nil {
		m.t.Errorf("seed %d: two masters at the same time", m.seed)
	}
	m.owner = x
}

// free frees the lock, if it is that of a master.
func (m *machine) free(x *master) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner == x {
		m.owner = nil
	}
}

// forget takes a master from those that workers link with.
func (m *machine) forget(x *master) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.masters = slices.DeleteFunc(m.masters, func(o *master) bool { return o == x })
}

func (m *machine) setCurrent(x *master) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = x
}
