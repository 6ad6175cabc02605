package cluster

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
	before := threadTimes{
		"1": {ran: 9 * s, waited: 90 * s}, "2": {ran: s, waited: s, runnable: true}, "3": {ran: s, waited: s, runnable: true},
		"4": {ran: s, waited: 99 * s, runnable: true},
	}
	for name, c := range map[string]struct {
		now  threadTimes
		want time.Duration
	}{
		"they sleep":                      {threadTimes{"1": before["1"]}, 0},
		"it has waited, and less than 1":  {threadTimes{"1": before["1"], "2": {ran: 2 * s, waited: 3 * s}}, 2 * s},
		"it waits all the time":           {threadTimes{"1": before["1"], "2": before["2"]}, 5 * s},
		"it runs all the time":            {threadTimes{"2": {ran: 6 * s, waited: s, runnable: true}}, 0},
		"it sleeps, and waited before":    {threadTimes{"2": {ran: s, waited: s}}, 0},
		"it is stopped":                   {threadTimes{"3": {ran: s, waited: s}}, 0},
		"it is new":                       {threadTimes{"9": {ran: s, waited: 9 * s, runnable: true}}, 0},
		"all threads of before have gone": {threadTimes{}, 0},
	} {
		assert.Equal(t, c.want, c.now.starvedSince(before, 5*s), name)
	}
}

// TestThreadTimes compares two looks at a thread of this process that runs, and at one that sleeps.
func TestThreadTimes(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	id := strconv.Itoa(unix.Gettid())
	before := readThreadTimes(os.Getpid())
	if before[id].ran == 0 {
		t.Skip("the kernel counts nothing: it takes CONFIG_SCHED_INFO")
	}
	now := before
	for now[id].ran == before[id].ran {
		now = readThreadTimes(os.Getpid())
	}
	assert.Greater(t, now[id].ran, before[id].ran)
	assert.True(t, now[id].runnable, "this thread reads it")
	assert.GreaterOrEqual(t, now[id].waited, before[id].waited)
	assert.Empty(t, readThreadTimes(1<<30), "there is no such process")
}
