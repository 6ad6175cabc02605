//go:build !linux

package cluster

import "time"

// threadTimes is for workers, which are Linux.
type threadTimes struct{}

func readThreadTimes(int) (t threadTimes) { return t }

func (threadTimes) starvedSince(threadTimes, time.Duration) time.Duration { return 0 }
