package versioned

import "sync/atomic"

// item is what is stored for a key: a value, or an error of the loader.
type item[V any] struct {
	value   V
	err     error
	stamp   stamp        // of the load
	tags    []place      // of its tags
	expires int64        // by the clock
	refresh atomic.Int64 // by the clock: from when on it is loaded anew
}

// stamp is the token of a load: what counted the changes that void it, when it began.
type stamp struct {
	key    place
	all    uint64 // of the table
	tagged uint64 // of the table; that one counts for what has tags
	era    uint64 // of the store
}
