package ways

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBurnUsesCPUTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, d := range []time.Duration{0, 50 * time.Microsecond, 5 * time.Millisecond} {
		const times = 20
		begin := threadTime()
		for range times {
			burn(d)
		}
		used := (threadTime() - begin) / times
		assert.GreaterOrEqual(t, used, d)
		assert.Less(t, used, 2*d+100*time.Microsecond)
		t.Logf("burn(%v) takes %v", d, used)
	}
}
