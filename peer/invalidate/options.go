package invalidate

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
	"github.com/multinode-go/multinode/peer/invalidate/internal/versioned"
	"github.com/multinode-go/multinode/peer/invalidate/internal/wire"
)

const (
	defaultName    = "default"
	defaultEntries = 10_000
	manyEntries    = 1 << 18 // when they are bounded by their weight
	defaultLife    = 10 * time.Minute
	defaultLease   = 2 * time.Second
	defaultCommit  = time.Minute
	minLease       = 100 * time.Millisecond
	maxLease       = wire.MaxLease
	maxCommit      = wire.MaxCommit
	maxName        = 200 // bytes; the topic of the bus has some more
)

// Options are the options of New. The zero value is ready to use.
type Options[K comparable, V any] struct {
	// Name distinguishes several caches, and is the same in all processes. Default: "default"; 200 bytes at most.
	Name string
	// MaxEntries is how many values are stored at most, without MaxWeight. Default: 10,000.
	MaxEntries int
	// MaxWeight bounds the sum of the weights of the stored values, in any unit. Default: MaxEntries bounds.
	MaxWeight uint64
	// Weigh returns the weight of a value. It is needed with MaxWeight, and must not call the cache.
	Weigh func(key K, value V) uint32
	// Life is how long a value is stored at most. Default: 10 minutes.
	Life time.Duration
	// Refresh is the age from which a Get of a value loads it again, and returns the old one meanwhile. An error of that load
	// changes nothing. Default: values are not refreshed.
	Refresh time.Duration
	// ErrorLife returns how long an error of the loader is stored, for instance "no such row"; 0 or less: not at all. Never stored
	// are context.Canceled, the error of the first caller's context, and any error once all callers have left. Default: no error
	// is stored.
	ErrorLife func(error) time.Duration
	// Tags returns the tags of a value, for InvalidateTag. Default: none.
	Tags func(key K, value V) []string
	// Version returns the version of a value. A lower one does not replace a higher one that is stored. Default: all are equal.
	Version func(value V) uint64
	// Clone returns a copy of a value that shares no memory with it, such as slices.Clone[[]string]. Each Get returns a copy of
	// its own. Many Gets call Clone concurrently, for values only, not for errors. Default: Gets share the value, see New.
	Clone func(value V) V
	// Codec encodes keys for the other processes. Default: a string as it is, other keys as JSON; Invalidate fails for a key
	// that does not survive its JSON.
	Codec Codec[K]
	// Lease is how long Invalidate waits for a process that hangs and shares no memory with this one. Afterwards that process
	// serves nothing, and as long as it hangs, the processes that share no memory with it load in each Get. There are four rounds
	// of messages in each Lease. It may differ between processes. Default: 2 seconds; 100 ms to 30 s.
	Lease time.Duration
	// CommitTimeout is the longest time from the sending of a write until the database has committed it or never will, even if
	// the sender is dead. When a writer dies in Update, or its commit fails, no process stores its keys for that long. Give the
	// database a lower limit: statement_timeout of PostgreSQL, innodb_lock_wait_timeout and max_execution_time of MySQL. It is the
	// same in all processes. Default: 1 minute; 24 hours at most; negative: none, for a database in the process's own memory.
	CommitTimeout time.Duration
	// DisableSharedMemory makes this process exchange messages with all other processes. Default: memory is shared, on Linux.
	DisableSharedMemory bool
	// Fence is called, in a goroutine of its own, with a process that shares no memory and has not answered for two Leases. Fence
	// may kill that process, so that the others can store values again. It suffices to set it in one process, the master.
	// Default: nothing is done.
	Fence func(peer.Info)
	// Logger receives failures that are recovered from, and a warning where memory cannot be shared. Default: that of the bus.
	Logger *slog.Logger
}

func (o Options[K, V]) withDefaults(b *bus.Bus) Options[K, V] {
	if o.Name == "" {
		o.Name = defaultName
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = defaultEntries
	}
	if o.Life <= 0 {
		o.Life = defaultLife
	}
	if o.Lease <= 0 {
		o.Lease = defaultLease
	}
	o.Lease = min(max(o.Lease, minLease), maxLease)
	if o.CommitTimeout == 0 {
		o.CommitTimeout = defaultCommit
	}
	o.CommitTimeout = min(max(o.CommitTimeout, 0), maxCommit)
	if o.Codec.Append == nil && o.Codec.Parse == nil {
		o.Codec = defaultCodec[K]()
	}
	if o.Logger == nil && b != nil {
		o.Logger = b.Logger()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("cache", o.Name)
	return o
}

// config returns the configuration of the store.
func (o Options[K, V]) config() versioned.Config[K, V] {
	return versioned.Config[K, V]{
		MaxEntries: o.MaxEntries,
		MaxWeight:  o.MaxWeight,
		Weigh:      o.Weigh,
		Life:       o.Life,
		Refresh:    o.Refresh,
		ErrorLife:  o.ErrorLife,
		Tags:       o.Tags,
		Version:    o.Version,
		Hash:       hashFor(o.Codec),
		HashTag:    func(name string) uint64 { return hashOf(wire.OpTag, []byte(name)) },
		Panicked:   func(value any, stack []byte) error { return &PanicError{Value: value, Stack: stack} },
		Log:        o.Logger,
	}
}

// tableIn returns the table that the processes of a mesh share, if they can, else a table for this process, without a host.
func (o Options[K, V]) tableIn(mesh *peer.Mesh) (*versioned.Table, *host) {
	entries := o.MaxEntries
	if o.MaxWeight > 0 {
		entries = manyEntries
	}
	if o.DisableSharedMemory || mesh == nil || inside.Of(mesh).Directory() == nil {
		return versioned.NewTable(entries), nil
	}
	table, host, err := shareTable(mesh, o.Logger, o.Name, entries, o.CommitTimeout)
	if err != nil {
		o.Logger.Warn("no shared memory: changes are told by messages, which takes longer", "reason", err)
		return versioned.NewTable(entries), nil
	}
	return table, host
}

func (o Options[K, V]) check() error {
	switch {
	case len(o.Name) > maxName:
		return fmt.Errorf("the name has %d bytes, and %d is the most", len(o.Name), maxName)
	case (o.MaxWeight > 0) != (o.Weigh != nil):
		return errors.New("MaxWeight and Weigh go together: set both or none")
	case o.Codec.Append == nil || o.Codec.Parse == nil:
		return errors.New("a Codec needs both Append and Parse")
	}
	return nil
}
