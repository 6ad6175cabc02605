package supervise

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
)

// perform carries out an action of the machine.
func (s *loop) perform(action lifecycle.Action) {
	switch a := action.(type) {
	case lifecycle.Start:
		s.start(a)
	case lifecycle.Ask:
		s.ask(s.workers[a.ID], a)
	case lifecycle.Dump: // a process that was stopped is continued for it
		s.workers[a.ID].signal(syscall.SIGQUIT, proc.Continue)
	case lifecycle.Kill:
		s.workers[a.ID].signal(syscall.SIGKILL)
	case lifecycle.Probe:
		s.probe(s.workers[a.ID])
	case lifecycle.Measure:
		s.measure(s.workers[a.ID], a.Elapsed)
	case lifecycle.Serve:
		s.cfg.Steering.Ready(a.ID)
	case lifecycle.Suspect:
		s.cfg.Steering.Suspect(a.ID, a.Is)
	case lifecycle.Gone:
		delete(s.workers, a.ID)
		s.cfg.Steering.Gone(a.ID)
	case lifecycle.AllReady:
		close(s.allReady)
	case lifecycle.Room:
		s.tell(lifecycle.Done{Seq: a.Seq, Err: s.cfg.Room(a.More)})
	case lifecycle.LeavePorts:
		s.master.LeavePorts(func() { s.send(lifecycle.Done{Seq: a.Seq}) })
	case lifecycle.Reloading:
		s.master.Reloading(a.Is, s.machine.Nodes())
	case lifecycle.Settled:
		close(s.settled)
	case lifecycle.Answer:
		if g := s.orders[a.Seq]; g != nil {
			g.answer <- a.Err
			delete(s.orders, a.Seq)
		}
	case lifecycle.Note:
		s.note(a)
	case lifecycle.End:
		s.over, s.err = true, a.Err
	default:
		s.handOver(a)
	}
}

// handOver carries out an action of a takeover. What takes time is done in a goroutine that ends with it.
func (s *loop) handOver(action lifecycle.Action) {
	switch a := action.(type) {
	case lifecycle.StartSuccessor:
		go s.master.StartSuccessor(s.machine.Nodes(), func(e lifecycle.Event) { s.send(e) })
	case lifecycle.Say:
		s.master.Say(a.Word)
	case lifecycle.SignalSuccessor:
		s.master.Signal(syscall.SIGTERM)
	case lifecycle.KillSuccessor:
		s.master.Signal(syscall.SIGKILL)
	case lifecycle.HangUp:
		s.master.HangUp()
	case lifecycle.LendAll:
		s.tell(lifecycle.Lend{LastID: s.master.LastID()})
		ctx, cancel := context.WithCancel(context.Background())
		s.lending = cancel
		go func() {
			defer cancel()
			s.send(s.master.Lend(ctx))
		}()
	case lifecycle.StopLending:
		s.lending()
	case lifecycle.Depose:
		s.tell(lifecycle.Deposed{OK: s.master.Depose()})
	case lifecycle.HandedOver:
		s.master.HandedOver()
	case lifecycle.Regain:
		go func() { s.send(s.master.Regain(a)) }()
	case lifecycle.StopAll:
		s.master.Stop()
	}
}

// note says something in the log, and as an event.
func (s *loop) note(n lifecycle.Note) {
	attrs, event := n.Attrs, n.Event
	if w := n.Worker; w != nil {
		attrs = append([]any{"id", w.ID, "slot", w.Slot, "generation", w.Generation, "pid", w.PID}, attrs...)
		event.ID, event.Slot, event.Generation, event.PID = w.ID, w.Slot, w.Generation, w.PID
	}
	if n.Text != "" {
		levels := map[lifecycle.Level]slog.Level{lifecycle.LevelWarn: slog.LevelWarn, lifecycle.LevelError: slog.LevelError}
		s.cfg.Logger.Log(context.Background(), levels[n.Level], n.Text, attrs...)
	}
	if event.Kind != "" {
		s.cfg.Tell(event)
	}
	if event.Kind == control.EventScaled {
		s.master.Scaled(s.machine.Nodes())
	}
}

// start starts a worker in a slot.
func (s *loop) start(a lifecycle.Start) {
	role := s.cfg.Role
	role.Slot, role.Generation, role.Incarnation = a.Slot, a.Generation, rendezvous.NewIncarnation()
	id, err := s.cfg.NextID()
	w := new(worker)
	if role.ID = id; err == nil {
		w.process, err = s.cfg.Start(role)
	} else {
		role.ID = -a.Slot // the id of no worker
	}
	w.info, w.inherit = role.Info(), true
	if err != nil {
		s.tell(lifecycle.StartFailed{Info: infoOf(w.info), Exit: s.exit(proc.Exit{Err: err}, true)})
		return
	}
	w.info.PID = w.process.PID
	s.workers[id] = w
	ended := make(chan struct{})
	if s.cfg.Program != nil {
		s.cfg.Steering.Expect(id, w.info.PID) // it may listen before we look
		w.finish = sync.OnceValue(func() error { return w.process.Signal(s.cfg.Program.StopSignal) })
		s.cfg.Steering.Go(func() { s.watchForeign(w, ended) })
	}
	s.tell(lifecycle.Started{Info: infoOf(w.info)})
	go s.awaitExit(id, w.process, ended)
}

func infoOf(i peer.Info) lifecycle.Info {
	return lifecycle.Info{ID: i.ID, Slot: i.Slot, Generation: i.Generation, PID: i.PID}
}

// awaitExit is a goroutine that ends with the process; run does not end before it has been told.
func (s *loop) awaitExit(id int, p *proc.Process, ended chan<- struct{}) {
	e := <-p.Exited
	close(ended)
	s.send(exited{id: id, exit: e})
}

// exit describes for the machine how a process has ended. A process that isNew may have ended because no process of its program
// can be a worker.
func (s *loop) exit(e proc.Exit, isNew bool) lifecycle.Exit {
	out := lifecycle.Exit{
		Reason: e.String(), Done: e.IsDone(), LastWords: e.LastWords, Left: e.Left, Alive: e.Alive, Jitter: 2*rand.Float64() - 1,
	}
	if s.cfg.Program != nil && isNew {
		out.Fatal = s.cfg.Program.Verdict(e, s.notShared())
	}
	return out
}

// notShared returns an address that a worker has for itself, "" if there is none.
func (s *loop) notShared() string {
	for _, w := range s.workers {
		for _, one := range w.foreign {
			if address, alone := one.Alone(); alone {
				return address
			}
		}
	}
	return ""
}

// ask asks a worker to leave, by its link, its listeners or a signal.
func (s *loop) ask(w *worker, a lifecycle.Ask) {
	switch {
	case w == nil:
	case w.foreign != nil:
		foreign := w.foreign
		s.cfg.Steering.Go(func() { s.leaveForeign(w, foreign) })
	case w.link != nil:
		_ = w.link.Stop(protocol.Stop{Timeout: a.Timeout, All: a.All}) // an error ends the link
	case w.known.Load(): // its next link will carry it
	case w.finish != nil:
		_ = w.finish() // as below
	default:
		_ = w.process.Signal(syscall.SIGTERM) // it may be gone already, then its exit is on the way
	}
}

// signal signals a process, if there still is one.
func (w *worker) signal(signals ...syscall.Signal) {
	if w == nil {
		return
	}
	for _, sig := range signals {
		_ = w.process.Signal(sig) // it may be gone already, then its exit is on the way
	}
}

// probe asks a worker whether it lives. The goroutine ends within LivenessTimeout; run may end before.
func (s *loop) probe(w *worker) {
	w.threads = proc.ReadThreadTimes(w.info.PID)
	id, link := w.info.ID, *w.link
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Rules.LivenessTimeout)
		defer cancel()
		load, err := link.Probe(ctx)
		s.send(answered{id: id, load: load, err: err})
	}()
}

// measure finds out for how long a worker that owes an answer has waited for a CPU.
func (s *loop) measure(w *worker, elapsed time.Duration) {
	threads := proc.ReadThreadTimes(w.info.PID)
	starved := threads.StarvedSince(w.threads, elapsed)
	w.threads = threads
	s.tell(lifecycle.Missed{ID: lifecycle.ID(w.info.ID), Elapsed: elapsed, Starved: starved})
}

// watchInterval is how often a process of a program that does not talk to us is looked at, until it listens.
const watchInterval = 25 * time.Millisecond

// watchForeign waits until a process that was started listens, and makes it a worker that is ready, unless it talks to us.
// It is a goroutine that ends with the process.
func (s *loop) watchForeign(w *worker, ended <-chan struct{}) {
	ctx := s.cfg.Steering.Context()
	for {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			return
		case <-time.After(watchInterval):
		}
		if w.known.Load() {
			return
		}
		foreign, err := s.cfg.Steering.FindForeign(ctx, w.info.ID, w.info.PID, w.finish, w.known.Load)
		switch {
		case errors.Is(err, steering.ErrTalks):
			return
		case err != nil || len(foreign) == 0:
			continue
		}
		w.process.Note()
		s.send(listening{w.info.ID, foreign})
		return
	}
}

// leaveForeign asks a process to leave that does not use this package. It is a goroutine that ends within local.LongestLeave.
func (s *loop) leaveForeign(w *worker, foreign []*steering.Foreign) {
	begin := time.Now()
	s.cfg.Steering.LetGo(foreign, w.finish)
	s.send(lifecycle.Drained{ID: lifecycle.ID(w.info.ID), Took: time.Since(begin)})
}
