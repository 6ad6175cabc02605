//go:build !linux

package cluster

import "time"

// monotonic is for masters and workers, which are Linux.
func monotonic() int64 { return time.Now().UnixNano() }
