package supervise

import (
	"slices"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/protocol"
	"github.com/multinode-go/multinode/peer"
)

func (s *loop) handleLink(info peer.Info, l protocol.Worker) bool {
	w := s.workers[info.ID]
	if w == nil && s.machine.Knows(info.ID) && s.adopt(info) == nil {
		w = s.workers[info.ID]
		s.tell(lifecycle.Met{Info: infoOf(info)})
	}
	if w == nil || w.info.Incarnation != info.Incarnation {
		return false // a worker that was given up
	}
	w.link = &l
	w.known.Store(true)
	s.cfg.Steering.Linked(info.ID, w.info.PID, l)
	s.tell(lifecycle.Linked{ID: lifecycle.ID(info.ID)})
	return true
}

func (s *loop) handleHello(h hello) {
	w := s.workers[h.id]
	if w == nil {
		return
	}
	var known chan struct{}
	if !w.inherit {
		w.inherit, known = true, make(chan struct{})
		go func() { // ends when its listeners are known, or the master is over
			select {
			case <-known:
				s.send(lifecycle.Greeted{ID: lifecycle.ID(h.id)})
			case <-s.cfg.Steering.Context().Done():
			}
		}()
	}
	s.cfg.Steering.Inherit(h.id, h.Listeners, known)
	if h.Ready {
		s.tell(lifecycle.Ready{ID: lifecycle.ID(h.id)})
	}
}

// adopt takes a process over that another master has started.
func (s *loop) adopt(info peer.Info) error {
	process, err := s.cfg.Adopt(info)
	if err != nil {
		return err
	}
	s.workers[info.ID] = &worker{info: info, process: process}
	s.cfg.Steering.Expect(info.ID, info.PID) // its listeners are no stranger's
	go s.awaitExit(info.ID, process, make(chan struct{}))
	return nil
}

// AdoptAll takes over the workers that a master has left. Call it before Run.
func (s *Supervisor) AdoptAll(nodes []peer.Info) {
	workers := slices.DeleteFunc(slices.Clone(nodes), func(info peer.Info) bool { return info.Slot == 0 })
	slices.SortFunc(workers, func(a, b peer.Info) int { return a.Generation - b.Generation })
	for _, info := range workers {
		s.loop.tell(lifecycle.Adopted{Info: infoOf(info), Gone: s.loop.adopt(info)})
	}
}

// EndAll ends workers that are alive and do not answer, as others that hang. Call it before Run. Guests of the mesh are left
// alone.
func (s *Supervisor) EndAll(absent []peer.Info) {
	for _, info := range absent {
		if !boot.HasRole(info.PID) {
			s.cfg.Logger.Warn("a guest does not answer: it is passed over", "id", info.ID, "pid", info.PID)
			continue
		}
		if err := s.loop.adopt(info); err != nil {
			s.cfg.Logger.Warn("a node does not answer, and cannot be ended", "id", info.ID, "pid", info.PID, "error", err)
			continue
		}
		s.loop.tell(lifecycle.Absent{Info: infoOf(info)})
	}
}
