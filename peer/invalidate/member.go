package invalidate

import (
	"sync/atomic"

	"github.com/multinode-go/multinode/peer"
)

// member is another process that has the cache, and shares no table with this one.
type member struct {
	info    peer.Info
	session uint64       // of its stream
	stream  *stream      // what has come of it
	cut     atomic.Bool  // the link is lost
	silent  atomic.Int32 // rounds in a row that it has not answered
	trusted int64        // guarded by membership.mu; when the lease that we have from it is over: until then it waits for us
}
