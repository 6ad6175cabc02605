//go:build !linux

package cluster

import "time"

// monotonic returns 0: the service managers here do not ask for it.
func monotonic() time.Duration { return 0 }
