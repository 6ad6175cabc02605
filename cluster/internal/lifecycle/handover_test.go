package lifecycle

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// isTrying reports whether the successor has what is ours, and is not the master yet.
func (w *world) isTrying() bool { return w.m.handover.phase == trying }

// TestTakeover: the successor gets all, and this machine is over without asking a worker for anything.
func TestTakeover(t *testing.T) {
	w := orderly(t, Config{Workers: 2})
	w.give(Order{Kind: Takeover, Name: "takeover"})
	assert.Equal(t, "takeover", w.m.Doing())
	w.settle(func() bool { return w.ended })
	assert.True(t, w.deposed)
	require.NoError(t, w.answers()[1])
	assert.Len(t, w.some(func(p *process) bool { return p.ready && !p.asked }), 2)
}

// TestTakeoverIsCalledOff: the successor gives back, and the workers are ours again.
func TestTakeoverIsCalledOff(t *testing.T) {
	for name, c := range map[string]struct {
		cause func(w *world)
		want  string
	}{
		"it ends":            {func(w *world) { w.endSuccessor(errors.New("exit code 3")) }, "process 77: exit code 3 (it has ended)"},
		"it gives up":        {func(w *world) { w.say(WordLeave) }, "it gives up"},
		"it does not answer": {func(w *world) { w.next.stuck = true }, "it was not the master, and ready, within 10s"},
		"it hangs up": {func(w *world) {
			w.next.stuck, w.next.hungUp = true, true
			w.tell(SuccessorHungUp{77})
		}, "it has closed the connection to its predecessor"},
		"the caller is gone": {func(w *world) { w.tell(Cancel{1, errors.New("the caller is gone")}) }, "the caller is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := orderly(t, Config{Workers: 2})
			w.give(Order{Kind: Takeover, Name: "takeover"})
			w.settle(w.isTrying)
			w.exit(w.alive[1], Exit{Reason: "signal: killed"})
			require.Empty(t, w.starts, "it is the successor's to replace")
			c.cause(w)
			w.settle(func() bool { return len(w.open) == 0 })
			require.ErrorContains(t, w.answers()[1], "takeover: the successor has failed, this master continues: "+c.want)
			assert.Nil(t, w.m.lent)
			w.rest()
			assert.Len(t, w.alive, 2)
			w.give(Order{Kind: Takeover, Name: "takeover"})
			w.settle(func() bool { return w.ended })
			assert.True(t, w.deposed, "the next one succeeds")
		})
	}
}

// TestStopInATakeover: the workers are not asked before the successor has given them back. One that does not is killed.
func TestStopInATakeover(t *testing.T) {
	for name, c := range map[string]struct {
		cause func(w *world)
		late  bool
	}{
		"of this master":           {func(w *world) { w.tell(Ending{}) }, false},
		"of the successor":         {func(w *world) { w.say(WordStop) }, false},
		"with one that is stopped": {func(w *world) { w.next.stuck = true; w.tell(Ending{}) }, true},
		"in a hurry": {func(w *world) {
			w.next.stuck = true
			w.tell(Ending{})
			w.tell(Hurry{})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := orderly(t, Config{Workers: 2})
			w.give(Order{Kind: Takeover, Name: "takeover"})
			w.settle(w.isTrying)
			c.cause(w)
			require.False(t, w.settled)
			w.settle(func() bool { return w.settled })
			w.tell(Stop{time.Second})
			w.settle(func() bool { return w.ended })
			require.ErrorIs(t, w.answers()[1], control.ErrStopping)
			assert.Empty(t, w.alive)
			assert.False(t, w.next.alive)
			last := w.actions[len(w.actions)-1]
			end, ok := last[len(last)-1].(End)
			require.True(t, ok)
			if !c.late {
				require.NoError(t, end.Err)
				return
			}
			assert.ErrorContains(t, end.Err, "successor (pid 77) did not return all in time and was killed")
		})
	}
}
