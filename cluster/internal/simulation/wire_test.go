package simulation

import (
	"io"
	"sync"
	"time"

	"github.com/multinode-go/multinode/internal/closed"
)

// stream is one end of a wire.
type stream struct{ in, out *direction }

// direction is what is under way to one end. A write never waits.
type direction struct {
	delay func() time.Duration

	mu     sync.Mutex
	chunks []chunk       // guarded by mu
	more   chan struct{} // holds a value when there may be more
	closed chan struct{}
}

type chunk struct {
	at   time.Time // when it arrives
	data []byte
}

// newWire returns the two ends of a stream on which each write arrives after a delay.
func newWire(delay func() time.Duration) (a, b stream) {
	toA := &direction{delay: delay, more: make(chan struct{}, 1), closed: make(chan struct{})}
	toB := &direction{delay: delay, more: make(chan struct{}, 1), closed: make(chan struct{})}
	return stream{toA, toB}, stream{toB, toA}
}

func (s stream) Read(b []byte) (int, error) { return s.in.read(b) }

func (s stream) Write(b []byte) (int, error) { return s.out.write(b) }

func (s stream) Close() error {
	s.in.close()
	s.out.close()
	return nil
}

func (d *direction) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !closed.Is(d.closed) {
		close(d.closed)
	}
}

func (d *direction) write(b []byte) (int, error) {
	at := time.Now().Add(d.delay())
	d.mu.Lock()
	defer d.mu.Unlock()
	if closed.Is(d.closed) {
		return 0, io.ErrClosedPipe
	}
	if n := len(d.chunks); n > 0 && at.Before(d.chunks[n-1].at) {
		at = d.chunks[n-1].at
	}
	d.chunks = append(d.chunks, chunk{at, append([]byte(nil), b...)})
	select {
	case d.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (d *direction) read(b []byte) (int, error) {
	for {
		n, wait := d.take(b)
		if n > 0 {
			return n, nil
		}
		var arrival <-chan time.Time
		if wait > 0 {
			arrival = time.After(wait)
		}
		select {
		case <-arrival:
		case <-d.more:
		case <-d.closed:
			return 0, io.EOF
		}
	}
}

// take returns what has arrived, or how long it takes until something does, 0 when nothing is under way.
func (d *direction) take(b []byte) (n int, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.chunks) == 0 {
		return 0, 0
	}
	first := &d.chunks[0]
	if wait := time.Until(first.at); wait > 0 {
		return 0, wait
	}
	n = copy(b, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		d.chunks = d.chunks[1:]
	}
	return n, 0
}
