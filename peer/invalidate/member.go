package invalidate

import (
	"sync/atomic"

	"github.com/multinode-go/multinode/peer"
)

// member is another process that has the cache and shares no table with this process.
type member struct {
	info    peer.Info
	session uint64       // of its stream
	stream  *stream      // its changes, as far as they have come
	cut     atomic.Bool  // the link is lost
	silent  atomic.Int32 // rounds in a row that it has not answered
	trusted int64        // guarded by membership.mu; the end of our lease from it: until then it waits for our confirmations
}
