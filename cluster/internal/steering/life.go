package steering

import (
	"context"
	"sync"
)

// life is the time in which the ports are this master's.
type life struct {
	ctx     context.Context // what runs in it has no caller to give one
	cancel  context.CancelFunc
	running sync.WaitGroup // of all goroutines
}

func newLife() *life {
	l := new(life)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Context is done when the ports are another master's, or given up.
func (l *life) Context() context.Context { return l.ctx }

// GiveUp leaves the ports to another master: a turn that is waited for does not come.
func (l *life) GiveUp() { l.cancel() }

// Go calls f in a goroutine that Close waits for. It has to end with Context.
func (l *life) Go(f func()) { l.running.Go(f) }

// end waits for all goroutines.
func (l *life) end() {
	l.cancel()
	l.running.Wait()
}
