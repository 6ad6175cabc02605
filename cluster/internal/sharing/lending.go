package sharing

import (
	"time"
)

// renewInterval is the time between two times that the siblings of a listener are asked to be behind it.
const renewInterval = time.Second

// lending is the part of a listener of this node.
type lending struct {
	to      map[int]bool // by id: the nodes that have it
	renewed time.Time    // when all of them were last asked to renew their watch
	pending bool         // they will be
}

// plan returns the nodes of a ring to lend to: those that do not have the listener, and those that follow, which are to be behind them.
func (l *lending) plan(ring []*link) []*link {
	for i, one := range ring {
		if l.to[one.Peer().ID] {
			continue
		}
		for _, one := range ring[i:] {
			l.to[one.Peer().ID] = true
		}
		return ring[i:]
	}
	return nil
}

// again forgets who has the listener: the kernel has put the others before it.
func (l *lending) again() {
	clear(l.to)
	l.renewed, l.pending = time.Now(), false
}
