//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
)

// follow collects the events of the masters in the directory, one after the other, until the last one has ended, or ctx.
func (c *testCluster) follow(ctx context.Context) {
	defer close(c.events.end)
	client, seen := control.NewClient(c.dir), make(map[string]bool)
	for ctx.Err() == nil {
		exited := !running(c.exited)
		stream, err := client.Events(ctx, 0) // those of the past too: the master may be another one
		if exited && errors.Is(err, control.ErrNotRunning) {
			return
		}
		if err != nil {
			time.Sleep(maxPause)
			continue
		}
		for e, err := stream.Next(); err == nil; e, err = stream.Next() {
			if !seen[stream.JSON()] {
				seen[stream.JSON()] = true
				c.events.add(e)
			}
		}
		_ = stream.Close()
	}
}

func isOf(kind control.EventKind) func(control.Event) bool {
	return func(e control.Event) bool { return e.Kind == kind }
}

// told returns the nth event of a kind, and waits for it.
func (c *testCluster) told(t *testing.T, kind control.EventKind, nth int) control.Event {
	t.Helper()
	return c.events.await(t, nth, isOf(kind))
}

// toldSoFar returns the events for which match is true. It knows that it has all of them by an order that changes nothing.
func (c *testCluster) toldSoFar(t *testing.T, match func(control.Event) bool) []control.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := time.Now()
	require.NoError(t, control.NewClient(c.dir).Scale(ctx, c.status(t).Wanted, control.Wait))
	c.events.await(t, 1, func(e control.Event) bool { return e.Kind == control.EventScaled && !e.Time.Before(begin) })
	return c.events.find(match)
}

func (c *testCluster) neverTold(t *testing.T, kind control.EventKind) {
	t.Helper()
	assert.Empty(t, c.toldSoFar(t, isOf(kind)))
}

// record holds the fields of a line of the log that say what no event does. The words of the line are for people.
type record struct {
	Level, Reason, Error   string
	PID                    int
	Address, Signal, Order string
	Silence                time.Duration // of a worker that does not answer
	WasReady               *bool         `json:"was_ready"` // only of a worker that died
	Lived                  time.Duration
	RestartIn              time.Duration `json:"restart_in"`
	LastWords              string        `json:"last_words"`
}

// recordOf returns what a line of the log holds. The line may follow what another process has written of a line that it has
// not ended, as the runtime does with a dump.
func recordOf(line string) (r record) {
	if _, fields, found := strings.Cut(line, `{"time"`); found {
		_ = json.Unmarshal([]byte(`{"time"`+fields), &r)
	}
	return r
}

// recorded returns the lines of the log so far for whose fields match is true.
func (c *testCluster) recorded(match func(record) bool) []string {
	return c.log.find(func(line string) bool { return match(recordOf(line)) })
}

// died waits for the nth death of a worker, and returns also what the log has of it.
func (c *testCluster) died(t *testing.T, nth int) (control.Event, record) {
	t.Helper()
	e := c.told(t, control.EventDied, nth)
	line := c.log.await(t, 1, func(line string) bool { r := recordOf(line); return r.PID == e.PID && r.WasReady != nil })
	return e, recordOf(line)
}
