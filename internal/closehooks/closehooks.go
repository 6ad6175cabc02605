// Package closehooks calls functions before something closes.
package closehooks

import "sync"

// List is the functions to call before something closes. The zero value is ready to use, and its methods may be called at
// the same time.
type List struct {
	mu   sync.Mutex
	all  map[*entry]struct{} // guarded by mu
	over bool                // guarded by mu; all were called
}

type entry struct{ f func() }

// Add has f called by Call, or at once when that was called before. remove takes f back.
func (l *List) Add(f func()) (remove func()) {
	one := &entry{f}
	l.mu.Lock()
	late := l.over
	if !late {
		if l.all == nil {
			l.all = make(map[*entry]struct{})
		}
		l.all[one] = struct{}{}
	}
	l.mu.Unlock()
	if late {
		f()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, one)
	}
}

// Call calls all, one after the other.
func (l *List) Call() {
	l.mu.Lock()
	all := l.all
	l.all, l.over = nil, true
	l.mu.Unlock()
	for one := range all {
		one.f()
	}
}
