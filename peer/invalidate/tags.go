package invalidate

import (
	"runtime"
	"weak"
)

// tags finds the tag of a name, as long as an item has it. The store's mutex guards it.
type tags map[string]weak.Pointer[tag]

// get returns the tag of a name, a new one if no item has it. forget is called when no item has it any more.
func (ts tags) get(name string, forget func(string)) *tag {
	if t := ts[name].Value(); t != nil {
		return t
	}
	t := &tag{name: name}
	ts[name] = weak.Make(t)
	runtime.AddCleanup(t, forget, name)
	return t
}

// drop drops all items that have the tag.
func (ts tags) drop(name string) {
	if t := ts[name].Value(); t != nil {
		t.dropped.Store(true)
	}
	delete(ts, name)
}

// sweep forgets a tag that no item has any more.
func (ts tags) sweep(name string) {
	if pointer, ok := ts[name]; ok && pointer.Value() == nil {
		delete(ts, name)
	}
}
