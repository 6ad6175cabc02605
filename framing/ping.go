package framing

import (
	"context"
	"encoding/binary"
	"math"
	"sync"
)

// Ping sends a ping and waits for the pong, which shows that the peer has received all that was sent before. A Receive must
// be running on both sides. Ping ends when ctx is done or the connection ends.
func (c *Conn) Ping(ctx context.Context) error {
	number, answer, err := c.sendPing(ctx)
	defer c.pings.remove(number)
	if err != nil {
		return c.failure("ping", err)
	}
	select {
	case <-answer:
		return nil
	case <-c.out.failed:
		return c.failure("ping", c.out.cause())
	case <-ctx.Done():
		return c.failure("ping", ctx.Err())
	}
}

// sendPing sends a ping. The numbers go out in their order, since one pong can stand for all before it: so a ping does not
// wait for room in the queue, where another could overtake it.
func (c *Conn) sendPing(ctx context.Context) (number uint64, answer <-chan struct{}, err error) {
	c.pings.sending.Lock()
	defer c.pings.sending.Unlock()
	number, answer = c.pings.add()
	var payload [pingSize]byte
	binary.BigEndian.PutUint64(payload[:], number)
	var frame [maxHeader + pingSize]byte
	err = c.out.put(ctx, Bound{Queue: math.MaxInt}, AppendFrame(frame[:0], Ping, payload[:]), nil, nil)
	return number, answer, err
}

// pingSize is the size of the payload of our pings, in bytes: a number.
const pingSize = 8

// pings are the pings that wait for their pongs. The zero value is ready to use.
type pings struct {
	sending sync.Mutex // held while a ping gets its number and its place in the queue

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan struct{}
}

func (p *pings) add() (number uint64, answer <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = make(map[uint64]chan struct{})
	}
	p.last++
	done := make(chan struct{})
	p.waiting[p.last] = done
	return p.last, done
}

func (p *pings) remove(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, number)
}

// answered ends the wait for the pong's ping and for those before it: the peer may answer the last of several only
// (RFC 6455, section 5.5.3). A pong that answers none of ours is no error.
func (p *pings) answered(pong []byte) {
	if len(pong) != pingSize {
		return
	}
	number := binary.BigEndian.Uint64(pong)
	p.mu.Lock()
	defer p.mu.Unlock()
	if number > p.last {
		return
	}
	for n, done := range p.waiting {
		if n <= number {
			close(done)
			delete(p.waiting, n)
		}
	}
}
