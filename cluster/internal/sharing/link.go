package sharing

import (
	"sync"
	"time"

	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

// link is the stream to a peer.
type link struct {
	*peer.Stream
	mu sync.Mutex // held while something is sent
}

// sendTimeout bounds how long a listener takes to be sent to a node that hangs.
const sendTimeout = 200 * time.Millisecond

func (l *link) send(b *reuseport.Borrowed, purpose byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	return reuseport.Send(l, b, purpose)
}
