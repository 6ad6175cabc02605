package peer

import "github.com/multinode-go/multinode/internal/rendezvous"

// Directory is an open rendezvous directory.
type Directory = rendezvous.Directory

// Incarnation is the random 64-bit name of one process.
type Incarnation = rendezvous.Incarnation

// Lock is the lock of a cluster.
type Lock = rendezvous.Lock

// LockedError is the error of [Directory.Lock] when another process holds the lock.
type LockedError = rendezvous.LockedError

// Owner says who holds the lock of a cluster.
type Owner = rendezvous.Owner

// NewIncarnation returns a random incarnation, never 0.
func NewIncarnation() Incarnation { return rendezvous.NewIncarnation() }

// OpenDirectory opens the rendezvous directory at path, and makes it if absent.
func OpenDirectory(path string) (*Directory, error) { return rendezvous.Open(path) }

// DefaultDirectory returns the path of the rendezvous directory of the cluster of that name.
func DefaultDirectory(name string) (string, error) { return rendezvous.DefaultPath(name) }
