//go:build !linux

package cluster

import "time"

// runDelay is for workers, which are Linux.
func runDelay(int) time.Duration { return 0 }
