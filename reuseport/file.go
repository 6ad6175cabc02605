package reuseport

import (
	"encoding/binary"
	"os"
)

// file is an open file that the runtime's poller knows, and in which it has nothing registered.
type file struct {
	*os.File
	entry pollEntry
}

// ring adds 1 to an eventfd, which no process reads: it is the change that wakes.
func ring(bell *file) error {
	_, err := bell.Write(binary.NativeEndian.AppendUint64(nil, 1))
	return err
}
