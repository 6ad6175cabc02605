package steering

import (
	"context"
	"sync"
)

// life is the time in which the ports are this master's.
type life struct {
	ctx     context.Context // for goroutines that have no caller's context
	cancel  context.CancelFunc
	running sync.WaitGroup // of all goroutines

	mu   sync.Mutex
	over bool // guarded by mu; end waits, or has waited
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

// Go calls f in a goroutine that Close waits for, if it begins before. It has to end with Context.
func (l *life) Go(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over { // a node asks in the last moment
		go f() // ends at once, with Context
		return
	}
	l.running.Go(f)
}

// end waits for all goroutines.
func (l *life) end() {
	l.cancel()
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.running.Wait()
}
