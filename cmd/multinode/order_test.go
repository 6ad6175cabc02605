package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/multinode-go/multinode/cluster/control"
)

// replacement are the events of one slot in a reload.
func replacement(slot, old, next int) []control.Event {
	return []control.Event{
		{Kind: control.EventStarted, Slot: slot, ID: next},
		{Kind: control.EventReady, Slot: slot, ID: next, Took: 41 * time.Millisecond},
		{Kind: control.EventDraining, Slot: slot, ID: old},
		{Kind: control.EventDrained, Slot: slot, ID: old, Took: 24 * time.Millisecond},
		{Kind: control.EventLeft, Slot: slot, ID: old, Took: time.Second},
	}
}

func TestReload(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "reload")
	assert.Equal(t, "POST /reload", f.order(t))
	f.emit(control.Event{Kind: control.EventReloading, ID: -1})
	f.emit(replacement(1, 3, 7)...)
	c.awaitOutput(t, "slot 1") // as it goes
	f.emit(                    // a worker takes over from the master
		control.Event{Kind: control.EventReady, Slot: 3, ID: 9},
		control.Event{Kind: control.EventDraining, Slot: 0, ID: 0},
		control.Event{Kind: control.EventDrained, Slot: 0, ID: 0, Took: 15 * time.Millisecond})
	f.emit(replacement(2, 2, 8)...)
	f.answers <- answer{200, "{}"} // before the last event
	f.emit(control.Event{Kind: control.EventReloaded, ID: -1})
	assert.Equal(t, codeDone, c.wait(t))
	assert.Regexp(t, `^reloading the 2 workers of web
slot 1: node 7 ready after 41ms, node 3 drained in 24ms
slot 3: node 9 ready
slot 0: the master no longer accepts, drained in 15ms
slot 2: node 8 ready after 41ms, node 2 drained in 24ms
reloaded web in \d+m?s
$`, c.stdout.String())
}

func TestReloadFails(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "reload")
	f.order(t)
	f.emit(control.Event{Kind: control.EventReloading, ID: -1}, control.Event{
		Kind: control.EventDied, Slot: 1, ID: 7, Text: "exit code 1",
	})
	c.awaitOutput(t, "slot 1: node 7 has died: exit code 1")
	f.answers <- answer{500, `{"error": "slot 1: node 7 has not become ready"}`}
	assert.Equal(t, codeFailed, c.wait(t))
	assert.Equal(t, "multinode: slot 1: node 7 has not become ready\n", c.stderr.String())
	assert.NotContains(t, c.stdout.String(), "reloaded")
}

func TestReloadWhileAnotherRuns(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	f.status.Doing = "scale"
	c := begins(t, place, "reload", "--refuse-busy")
	assert.Equal(t, "POST /reload?busy=refuse", f.order(t))
	f.answers <- answer{409, `{"error": "a reload or a change of the number of nodes is running"}`}
	assert.Equal(t, codeBusy, c.wait(t))
	assert.Equal(t, "multinode: a reload or a change of the number of nodes is running: try again when it is done\n",
		c.stderr.String())
	assert.Empty(t, c.stdout.String())

	c = begins(t, place, "reload")
	assert.Equal(t, "POST /reload", f.order(t))
	c.awaitOutput(t, "waiting for the scale that runs")
	f.answers <- answer{200, "{}"}
	f.emit(control.Event{Kind: control.EventReloaded, ID: -1})
	assert.Equal(t, codeDone, c.wait(t))
}

func TestOrderTakesTooLong(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	code, _, stderr := runs(t, place, "reload", "--timeout", "50ms")
	assert.Equal(t, codeTimeout, code)
	assert.Equal(t, "multinode: not done after 50ms: the reload goes on, multinode events tells how\n", stderr)
	f.order(t)

	c := begins(t, place, "scale", "2")
	f.order(t)
	c.interrupt()
	assert.Equal(t, codeInterrupted, c.wait(t))
	assert.Equal(t, "multinode: interrupted: the scale goes on, multinode events tells how\n", c.stderr.String())
}

func TestOrderThatIsNotWaitedFor(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	f.answers <- answer{202, "{}"}
	code, stdout, _ := runs(t, place, "scale", "web", "5", "--no-wait")
	assert.Equal(t, codeDone, code)
	assert.Equal(t, "scaling web from 3 to 5 nodes; multinode events tells how it goes\n", stdout)
	assert.Equal(t, "POST /scale?nodes=5&wait=false", f.order(t))
}

func TestMasterGoesDuringAnOrder(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "reload")
	f.order(t)
	f.stop()
	assert.Equal(t, codeFailed, c.wait(t))
	assert.Contains(t, c.stderr.String(), "cluster web: the master has gone before it could answer")
}

func TestScale(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "scale", "5")
	assert.Equal(t, "POST /scale?nodes=5", f.order(t))
	f.emit(
		control.Event{Kind: control.EventScaling, ID: -1},
		control.Event{Kind: control.EventReady, Slot: 4, ID: 9, Took: time.Second},
		control.Event{Kind: control.EventReady, Slot: 3, ID: 8},
		control.Event{Kind: control.EventDraining, Slot: 7, ID: 1},
		control.Event{Kind: control.EventLeft, Slot: 7, ID: 1, Took: time.Second},
		control.Event{Kind: control.EventScaled, ID: -1})
	f.answers <- answer{200, "{}"}
	assert.Equal(t, codeDone, c.wait(t))
	assert.Regexp(t, `^scaling web from 3 to 5 nodes
slot 3: node 8 ready
slot 4: node 9 ready after 1s
slot 7: node 1 left
web has 5 nodes in \d+m?s
$`, c.stdout.String())
}

func TestDrain(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "drain", "3")
	assert.Equal(t, "POST /drain/3", f.order(t))
	f.answers <- answer{200, "{}"} // which may come before the events
	f.emit(replacement(1, 3, 7)...)
	assert.Equal(t, codeDone, c.wait(t))
	assert.Regexp(t, `^replacing node 3 of web
slot 1: node 7 ready after 41ms, node 3 drained in 24ms
replaced node 3 in \d+m?s\n$`, c.stdout.String())

	f.answers <- answer{404, `{"error": "no worker has the id \"9\": those that could be replaced have 3"}`}
	code, stdout, stderr := runs(t, place, "drain", "web", "9")
	assert.Equal(t, codeFailed, code)
	assert.Equal(t, "multinode: no worker has the id \"9\": those that could be replaced have 3\n", stderr)
	assert.Empty(t, stdout)
	f.answers <- answer{400, `{"error": "node 0 is the master"}`}
	code, _, _ = runs(t, place, "drain", "0")
	assert.Equal(t, codeUsage, code)
}

func TestPause(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	for order, done := range map[string]string{"pause": "paused", "resume": "resumed"} {
		f.answers <- answer{200, "{}"}
		code, stdout, _ := runs(t, place, order, "web", "3")
		assert.Equal(t, codeDone, code)
		assert.Equal(t, done+" node 3\n", stdout)
		assert.Equal(t, "POST /"+order+"/3", f.order(t))
	}
	f.answers <- answer{422, `{"error": "pause node 3: it is the only one"}`}
	code, _, stderr := runs(t, place, "pause", "3")
	assert.Equal(t, codeFailed, code)
	assert.Equal(t, "multinode: pause node 3: it is the only one\n", stderr)
}

func TestStop(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	f.answers <- answer{202, "{}"}
	c := begins(t, place, "stop")
	assert.Equal(t, "POST /stop", f.order(t))
	f.emit(control.Event{Kind: control.EventLeft, Slot: 1, ID: 3, Took: time.Second})
	c.awaitOutput(t, "stopping the 3 nodes of web\nslot 1: node 3 has left after 1s\n")
	f.stop()
	select {
	case <-c.code:
		t.Error("the master has not given up its place")
	case <-time.After(5 * lookAgain):
	}
	f.lock()
	assert.Equal(t, codeDone, c.wait(t), c.stderr.String())
	assert.Contains(t, c.stdout.String(), "stopped web in ")
}

func TestStopTakesTooLong(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	f.answers <- answer{202, "{}"}
	code, _, stderr := runs(t, place, "stop", "--timeout", "50ms")
	assert.Equal(t, codeTimeout, code)
	assert.Equal(t, "multinode: cluster web is still there after 50ms: the stop goes on; to end it at once, "+
		"send the master another signal: kill 4711\n", stderr)

	f.answers <- answer{202, "{}"}
	code, stdout, _ := runs(t, place, "stop", "--no-wait")
	assert.Equal(t, codeDone, code)
	assert.Equal(t, "stopping web\n", stdout)
}

// A service manager may have started the next one by the time we look.
func TestStopAndTheNextOneIsThere(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	f.answers <- answer{202, "{}"}
	c := begins(t, place, "stop")
	c.awaitOutput(t, "stopping the 3 nodes")
	f.mu.Lock()
	f.status.PID++
	f.mu.Unlock()
	f.cut()
	assert.Equal(t, codeDone, c.wait(t))
}
