package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

func TestEvents(t *testing.T) {
	t.Setenv("TZ", "UTC")
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "events")
	f.awaitReader(t)
	f.emit(
		control.Event{Kind: control.EventStarted, Slot: 2, ID: 17, PID: 4720},
		control.Event{Kind: control.EventReady, Slot: 2, ID: 17, Took: 41 * time.Millisecond},
		control.Event{Kind: control.EventDied, Slot: 2, ID: 17, Text: "exit code 1"},
		control.Event{Kind: control.EventReloading, ID: -1},
		control.Event{Kind: "unheard-of", ID: -1, Text: "of a later version"},
	)
	c.awaitOutput(t, "later version\n")
	f.stop()
	assert.Equal(t, codeNotRunning, c.wait(t))
	assert.Equal(t, "multinode: cluster web has stopped\n", c.stderr.String())
	clock := begin.Local().Format("15:04:05.000")
	assert.Equal(t, strings.ReplaceAll(`CLOCK  slot 2: node 17   was started as process 4720
CLOCK  slot 2: node 17   is ready after 41ms
CLOCK  slot 2: node 17   has died: exit code 1
CLOCK  cluster           reload begins
CLOCK  cluster           unheard-of: of a later version
`, "CLOCK", clock), c.stdout.String())
}

func TestEventsJSON(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "events", "--json", "--all")
	f.awaitReader(t)
	f.emit(control.Event{Kind: control.EventReady, Slot: 2, ID: 17}, control.Event{Kind: control.EventLeft, Slot: 2, ID: 17})
	c.awaitOutput(t, `"left"`)
	c.interrupt()
	assert.Equal(t, codeDone, c.wait(t))
	lines := strings.Split(strings.TrimSpace(c.stdout.String()), "\n")
	require.Len(t, lines, 2)
	var e control.Event
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &e))
	assert.Equal(t, control.Event{Seq: 2, Time: begin, Kind: control.EventLeft, Slot: 2, ID: 17}, e)
}

// A reader that is too slow is cut, and continues after its last event.
func TestEventsGoOn(t *testing.T) {
	place := tempPlace(t)
	f := startFake(t, place, "web")
	c := begins(t, place, "events")
	f.awaitReader(t)
	f.emit(control.Event{Kind: control.EventReloading, ID: -1})
	c.awaitOutput(t, "reload begins")
	f.cut()
	f.awaitReader(t)
	f.emit(control.Event{Kind: control.EventReloaded, ID: -1, Took: time.Second})
	c.awaitOutput(t, "reload is done in 1s")
	f.mu.Lock()
	defer f.mu.Unlock()
	assert.Equal(t, []string{"", "after=1"}, f.asked)
}
