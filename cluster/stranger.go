package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/multinode-go/multinode/reuseport"
)

// holder returns the node that has a listener; nil if it is a stranger's, and who that is.
func (s *steering) holder(ctx context.Context, g *group, inode uint32) (*party, Stranger, error) {
	found := Stranger{Address: g.address}
	owners, err := reuseport.Owners(ctx, g.key.Network, g.address)
	if err != nil {
		return nil, found, err
	}
	for _, o := range owners {
		if o.Inode != inode {
			continue
		}
		if p := s.partyOf(o.PID); p != nil {
			return p, found, nil
		}
		found = Stranger{PID: o.PID, Program: o.Program, Address: o.Addr.String()}
	}
	return nil, found, nil
}

// report tells of a stranger, once.
func (s *steering) report(inode uint32, found Stranger) {
	s.mu.Lock()
	_, known := s.strangers[inode]
	s.strangers[inode] = found
	s.mu.Unlock()
	if known {
		return
	}
	text := fmt.Sprintf("%s listens on %s and is no node of this cluster", found.name(), found.Address)
	if s.rung >= reuseport.RungBPF {
		text += "; it gets no connections"
	} else {
		text += "; it gets a share of the connections"
	}
	s.logger.Warn("stranger on the port", "pid", found.PID, "program", found.Program, "address", found.Address,
		"steering", s.rung.String())
	s.tell(Event{Kind: EventStranger, ID: -1, PID: found.PID, Text: text})
}

// partyOf returns the node whose process that is, or has started that. What a master has started are other nodes.
func (s *steering) partyOf(pid int) *party {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parties {
		if p.pid != 0 && p.pid == pid {
			return p
		}
	}
	for _, p := range s.parties {
		if p.pid != 0 && p.id != s.self && p.id != s.elder && slices.Contains(descendantsOf(p.pid), pid) {
			return p
		}
	}
	return nil
}

func (s Stranger) name() string {
	if s.PID == 0 {
		return "a process"
	}
	return fmt.Sprintf("process %d (%s)", s.PID, s.Program)
}

func (s *steering) strangerOf(inode uint32, address string) Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.strangers[inode]; ok {
		return found
	}
	return Stranger{Address: address}
}
