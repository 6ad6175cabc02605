package loss

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// proveDelayed drains over wires that delay and lose packets: handshakes that are under way at a drain take as long.
func proveDelayed(ctx context.Context, c config) (r *report, err error) {
	w, err := newWire()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	c.Drains, c.Restarts, c.Connections, c.Clients = c.Delayed, c.Delayed, 1, 4*c.Clients
	r = &report{Title: "Drains over a wire with a delay of its own for each connection, and with losses, as root"}
	r.row(append([]any{"delay each way", "lost"}, trialHead()...)...)
	for _, wire := range []struct {
		delay time.Duration
		lost  float64 // of 1
	}{{0, 0}, {5 * time.Millisecond, 0}, {50 * time.Millisecond, 0}, {50 * time.Millisecond, 0.001}, {50 * time.Millisecond, 0.01}} {
		w.delay.Store(int64(wire.delay))
		w.lost.Store(uint64(wire.lost * (1 << 32)))
		_, err := c.compare(ctx, r, w.site(), c.Restarts, "plain close", fmt.Sprintf("to %v", wire.delay), fmt.Sprintf("%.1f %%", 100*wire.lost))
		if err != nil {
			return nil, err
		}
	}
	r.note("%d packets, %d of them dropped", w.packets.Load(), w.dropped.Load())
	return r, nil
}
