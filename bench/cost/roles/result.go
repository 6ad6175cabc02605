package roles

import (
	"time"
)

// Result is the outcome of a load.
type Result struct {
	Requests  int64
	Uncounted int64 // requests before them, to warm up
	Failures  int64
	Elapsed   time.Duration
	P50, P99  time.Duration
	Max       time.Duration
	Clock     time.Duration // p50 of an empty measurement
	Began     time.Duration // when the last of many processes was there; Elapsed is when it had joined all
	Memory    float64       // of an idle process, in MiB
	Lost      Loss          // by the processes of a cache

	Allocations int64     // while a cache was read
	Hits        HitResult // of a cache that is also written
	Shop        ShopResult

	CPU time.Duration // of the server or the team, for all requests; filled in by the parent
}
