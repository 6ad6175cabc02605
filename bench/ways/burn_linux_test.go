package ways

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestBurnUsesCPUTime compares with what one round of the loop takes on this machine.
func TestBurnUsesCPUTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const times = 20
	// What the kernel does meanwhile on the account of this thread makes a time longer, never shorter.
	least := func(f func()) time.Duration {
		best := time.Hour
		for range times {
			begin := threadTime()
			f()
			best = min(best, threadTime()-begin)
		}
		return best
	}
	const rounds = 100
	round := least(func() {
		var x uint32
		for range rounds {
			_, x = threadTime(), spin(x)
		}
		runtime.KeepAlive(x)
	}) / rounds
	for _, d := range []time.Duration{0, 50 * time.Microsecond, 5 * time.Millisecond} {
		used := least(func() { burn(d) })
		assert.GreaterOrEqual(t, used, d)
		assert.Less(t, used, d+d/2+20*round)
		t.Logf("burn(%v) takes %v, and a round of it %v", d, used, round)
	}
}
