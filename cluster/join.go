package cluster

import "github.com/multinode-go/multinode/internal/errline"

// join joins two errors in one line.
func join(first, second error) error { return errline.Join(first, second) }
