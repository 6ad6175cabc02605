package versioned

import "sync/atomic"

// item is stored for a key: a value, or an error of the loader.
type item[V any] struct {
	value   V
	err     error
	stamp   stamp        // of the load
	tags    []place      // of its tags
	expires int64        // by the clock
	refresh atomic.Int64 // by the clock: when it is due to be loaded again
}

// stamp is the token of a load: when it began, the counters of the changes that void it.
type stamp struct {
	key    place
	all    uint64 // of the table
	tagged uint64 // of the table; only for items with tags
	era    uint64 // of the store
}
