//go:build !linux

package versioned

// shared is for where processes can share a table.
type shared struct{}

func (*shared) isTaken(int) bool       { return false }
func (*shared) sweep(*Table, int) bool { return false }
func (*shared) close() error           { return nil }
