package proc

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestStarvedSince(t *testing.T) {
	const s = time.Second
	before := ThreadTimes{
		"1": {ran: 9 * s, waited: 90 * s}, "2": {ran: s, waited: s, runnable: true}, "3": {ran: s, waited: s, runnable: true},
		"4": {ran: s, waited: 99 * s, runnable: true},
	}
	for name, c := range map[string]struct {
		now  ThreadTimes
		want time.Duration
	}{
		"they sleep":                      {ThreadTimes{"1": before["1"]}, 0},
		"it has waited, and less than 1":  {ThreadTimes{"1": before["1"], "2": {ran: 2 * s, waited: 3 * s}}, 2 * s},
		"it waits all the time":           {ThreadTimes{"1": before["1"], "2": before["2"]}, 5 * s},
		"it runs all the time":            {ThreadTimes{"2": {ran: 6 * s, waited: s, runnable: true}}, 0},
		"it sleeps, and waited before":    {ThreadTimes{"2": {ran: s, waited: s}}, 0},
		"it is stopped":                   {ThreadTimes{"3": {ran: s, waited: s}}, 0},
		"it is new":                       {ThreadTimes{"9": {ran: s, waited: 9 * s, runnable: true}}, 0},
		"all threads of before have gone": {ThreadTimes{}, 0},
	} {
		assert.Equal(t, c.want, c.now.StarvedSince(before, 5*s), name)
	}
}

// TestThreadTimes compares two readings of a running and of a sleeping thread of this process.
func TestThreadTimes(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	id := strconv.Itoa(unix.Gettid())
	before := ReadThreadTimes(os.Getpid())
	if before[id].ran == 0 {
		t.Skip("the kernel counts nothing: it takes CONFIG_SCHED_INFO")
	}
	now := before
	for now[id].ran == before[id].ran {
		now = ReadThreadTimes(os.Getpid())
	}
	assert.Greater(t, now[id].ran, before[id].ran)
	assert.True(t, now[id].runnable, "this thread reads it")
	assert.GreaterOrEqual(t, now[id].waited, before[id].waited)
	assert.Empty(t, ReadThreadTimes(1<<30), "there is no such process")
}
