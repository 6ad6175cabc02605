package compare

import (
	"time"

	"github.com/multinode-go/multinode/bench/internal/proc"
)

// usage is the CPU time that processes have used.
type usage struct {
	total        time.Duration // to the nanosecond
	user, system float64       // in ticks of 10 ms, which are too coarse for more than their ratio
}

// usageOf returns what processes have used until now; one that has ended counts as nothing.
func usageOf(pids []int) usage {
	u := usage{total: proc.CPU(pids...)}
	for _, pid := range pids {
		if s, err := proc.Stat(pid); err == nil {
			u.user, u.system = u.user+float64(s.UTime), u.system+float64(s.STime)
		}
	}
	return u
}

// since returns what was used between before and u, split into user and system.
func (u usage) since(before usage) (total, user, system time.Duration) {
	total = u.total - before.total
	share := 0.5
	if all := u.user - before.user + u.system - before.system; all > 0 {
		share = (u.user - before.user) / all
	}
	user = time.Duration(share * float64(total))
	return total, user, total - user
}
