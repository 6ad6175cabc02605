package steering

import (
	"context"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/kernel"
	"github.com/multinode-go/multinode/cluster/internal/portgroup"
	"github.com/multinode-go/multinode/reuseport"
)

// sentinel is the member to which the program that is attached sends the connections from one port that is ours alone. It belongs
// to the group's turn.
type sentinel struct {
	port     *port
	nodes    *portgroup.Map[*agent]
	conn     kernel.ProbeConn // bound to that port; nil: there is none
	member   *member          // nil: the program that is attached has no such mark
	next     *member          // the same of the program that is being attached
	attached time.Time        // the last time
	count    int              // of attachments
}

// mark returns the mark for a program that is to send the port to a member, nil if there cannot be one.
func (s *sentinel) mark(ctx context.Context, m *member) *reuseport.Mark {
	s.next = nil
	if m == nil {
		return nil
	}
	if s.conn == nil {
		conn, err := s.port.newProbeConn(ctx)
		if err != nil {
			return nil
		}
		s.conn = conn
	}
	s.next = m
	return &reuseport.Mark{Port: s.conn.Port(), Index: s.nodes.Index(m)}
}

// note notes an attachment.
func (s *sentinel) note(ok bool) {
	s.member = nil
	if ok {
		s.member = s.next
	}
	s.next, s.attached = nil, time.Now()
	s.count++
}

// use returns the connection and the member that it is steered to. The port is used up by that.
func (s *sentinel) use() (kernel.ProbeConn, *member) {
	conn, m := s.conn, s.member
	s.conn, s.member = nil, nil
	return conn, m
}

func (s *sentinel) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
