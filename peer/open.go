package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// dialMember is Mesh.Dial.
func (st *streams) dialMember(ctx context.Context, id int, name string) (*Stream, error) {
	if err := checkStream(name); err != nil {
		return nil, err
	}
	var last error // of the last attempt
	for delay := minDelay; ctx.Err() == nil; delay = min(2*delay, maxDelay) {
		peer, err := st.members.find(id)
		if err != nil {
			return nil, err
		}
		stream, _, err := st.dialer.dial(ctx, peer.node(), name)
		if err == nil {
			return stream, nil
		}
		if refused, ok := errors.AsType[*refusedError](err); ok && isRefused(err) {
			return nil, &RefusedError{Peer: peer, Stream: name, Reason: refused.reason}
		}
		if ctx.Err() != nil {
			break
		}
		if last = err; !isPassing(err) {
			return nil, err
		}
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-st.closing:
		case <-ctx.Done():
		}
	}
	if last != nil {
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), last)
	}
	return nil, context.Cause(ctx)
}
