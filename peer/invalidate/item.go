package invalidate

import "sync/atomic"

// item is what is stored for a key: a value, or an error of the loader.
type item[V any] struct {
	value   V
	err     error
	era     uint64       // of the store when the load began
	expires int64        // by the clock
	refresh atomic.Int64 // by the clock: from when on it is loaded anew
	tags    []*tag
}

// tag is what all items that are stored with a tag at a time have in common. When the tag is dropped, so are they, and
// those that come later have another one.
type tag struct {
	name    string // with it, the garbage collector looks at each by itself, and not at several in one block
	dropped atomic.Bool
}

// isFresh reports whether the item has been neither dropped nor stored for too long. Rule 8 is here.
func (it *item[V]) isFresh(now int64, era uint64) bool {
	if it.era != era || now >= it.expires {
		return false
	}
	for _, t := range it.tags {
		if t.dropped.Load() {
			return false
		}
	}
	return true
}
