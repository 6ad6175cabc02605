//go:build !linux

package cluster

import "time"

// reapStrangers is for containers, which are Linux.
func reapStrangers(<-chan struct{}, time.Duration) {}
