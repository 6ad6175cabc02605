//go:build !linux

package versioned

// slotLocks are for systems where processes can share a table.
type slotLocks struct{}

func (*slotLocks) isTaken(int) bool       { return false }
func (*slotLocks) lock(int) (bool, error) { return false, nil }
func (*slotLocks) unlock(int)             {}
func (*slotLocks) close() error           { return nil }
