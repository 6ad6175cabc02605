//go:build linux

package cost

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/bench/cost/roles"
	"github.com/multinode-go/multinode/bench/load"
)

// tiny measures what takes minutes in as little time as shows that it works.
func tiny() config {
	return config{
		rounds: 1, duration: 100 * time.Millisecond, slice: 20 * time.Millisecond, gomaxprocs: []int{2}, peers: []int{2}, nodes: 4,
		writeRate: 1000, stall: 200 * time.Millisecond,
	}
}

// measureTiny returns what the tables of these names print of a short measurement.
func measureTiny(t *testing.T, names string) string {
	t.Helper()
	return measureUntil(t, names, func(string) bool { return true })
}

// measureUntil measures for longer, until no figure is missing and the tables are as they should be: a slow machine does nothing
// in a short time.
func measureUntil(t *testing.T, names string, enough func(tables string) bool) string {
	t.Helper()
	chosen, err := choose(names)
	require.NoError(t, err)
	missing := regexp.MustCompile(`NaN|Inf`)
	for c := tiny(); ; c.duration, c.slice = 4*c.duration, 4*c.slice {
		var out bytes.Buffer
		require.NoError(t, c.measure(t.Context(), chosen, &out))
		t.Log(out.String())
		if !missing.Match(out.Bytes()) && enough(out.String()) {
			return out.String()
		}
		require.Less(t, c.duration, time.Minute, "a figure is missing, or wrong, however long it is measured")
	}
}

func TestContests(t *testing.T) {
	cached := []string{roles.Raw, roles.RawReaders, roles.Bus, roles.Cache, roles.CacheMessages, roles.NATSCached}
	out := measureTiny(t, "round-trip,one-way,fan-out,invalidate")
	if hasRedis() {
		cached = append(cached, roles.RedisCached)
	} else {
		assert.Contains(t, out, redisMissing)
		out = strings.Replace(out, redisMissing, "", 1)
	}
	assertTables(t, out, [][]string{
		{roles.Raw, roles.Framing, roles.Bus, roles.NATS},
		{roles.Raw, roles.RawBatches, roles.Framing, roles.Bus, roles.NATS},
		{roles.Raw, roles.RawBatches, roles.Framing, roles.Bus, roles.NATS},
		{roles.Raw, roles.RawReaders, roles.Framing, roles.Bus, roles.NATS},
		cached,
		cached[3:],
	})
}

// assertTables checks the names of the rows of each table.
func assertTables(t *testing.T, out string, names [][]string) {
	t.Helper()
	tables := strings.Split(strings.TrimSpace(out), "\n\n")
	require.Len(t, tables, len(names))
	for i, names := range names {
		rows := strings.Split(tables[i], "\n")
		require.Len(t, rows, 2+len(names), "a title, a head, a row for each name")
		for k, name := range names {
			assert.True(t, strings.HasPrefix(strings.TrimSpace(rows[2+k]), name+"  "), rows[2+k])
		}
	}
}

func TestMeshStartAndJoin(t *testing.T) {
	out := measureTiny(t, "mesh-start,join")
	for _, row := range []string{"each has all peers", "beyond processes that do nothing", "a hello to each", "mesh"} {
		assert.Contains(t, out, row+"  ")
	}
}

// TestJoinIsTimedByOneClock also has one join again under another id, after the first has gone.
func TestJoinIsTimedByOneClock(t *testing.T) {
	c := tiny()
	mesh, err := c.startTeam(t.Context(), roles.Player{System: roles.Mesh, Peers: c.nodes - 1, GOMAXPROCS: 2})
	require.NoError(t, err)
	defer func() { assert.NoError(t, mesh.stop()) }()
	for id := c.nodes; id < c.nodes+2; id++ {
		before := load.Now()
		took, err := mesh.join(t.Context(), id)
		require.NoError(t, err)
		after := load.Now()
		assert.Positive(t, took)
		assert.Less(t, took, after-before)
	}
}

// TestTeamCountsWhatArrives shows that the senders and the receiver agree, and that what warms up does not count.
func TestTeamCountsWhatArrives(t *testing.T) {
	for _, name := range []string{roles.Raw, roles.RawBatches, roles.Framing, roles.Bus} {
		team, err := tiny().startTeam(t.Context(), roles.Player{System: name, Peers: 1, GOMAXPROCS: 2})
		require.NoError(t, err)
		r, err := team.ask(roles.Order{Do: roles.OneWay, Senders: 3, Warm: 5 * time.Millisecond, Duration: 10 * time.Millisecond})
		require.NoError(t, err, name)
		require.NoError(t, team.stop())
		assert.Positive(t, r.Requests)
		assert.Zero(t, r.Requests%256, "each sender looks at the clock after so many")
		assert.Positive(t, r.Uncounted)
		assert.GreaterOrEqual(t, r.Elapsed, 10*time.Millisecond)
		assert.Positive(t, r.CPU)
	}
}

func TestStalledPeer(t *testing.T) {
	out := measureTiny(t, "stalled-peer")
	for _, row := range []string{"nobody is stopped", "second half", "the third is not there", "the third is stopped"} {
		assert.Contains(t, out, row+"  ")
	}
}

func TestStallRows(t *testing.T) {
	in := func(name string, p99 time.Duration) *contestant {
		return &contestant{name: name, results: []roles.Result{{Latency: roles.Latency{P50: time.Microsecond, P99: p99, Max: p99}}}}
	}
	rows := stallRows([]*contestant{
		in("nobody, first half", 10*time.Microsecond), in("nobody, second half", 30*time.Microsecond),
		in("the third is not there", 100*time.Microsecond), in("the third is stopped", 50*time.Microsecond),
	})
	for i, want := range []string{
		"nobody is stopped 1.0 20.0 30 1.000 0.200", "nobody, first half 1.0 10.0 10 0.500 0.100",
		"nobody, second half 1.0 30.0 30 1.500 0.300", "the third is not there 1.0 100.0 100 5.000 1.000",
		"the third is stopped 1.0 50.0 50 2.500 0.500",
	} {
		row := rows[i+1]
		assert.Equal(t, want, strings.Join([]string{row[0], row[1], row[2], row[3], row[4], row[6]}, " "))
	}
}

// TestTeamTellsDeath has a peer die, which the leader must not take for a fast answer.
func TestTeamTellsDeath(t *testing.T) {
	for _, name := range []string{roles.Raw, roles.RawReaders, roles.Framing, roles.Bus} {
		team, err := tiny().startTeam(t.Context(), roles.Player{System: name, Peers: 2, GOMAXPROCS: 2})
		require.NoError(t, err)
		team.peers[1].Kill()
		require.Error(t, team.peers[1].Wait())
		_, err = team.ask(roles.Order{Do: roles.FanOuts, Duration: time.Millisecond})
		require.Error(t, err, name)
		require.Error(t, team.stop())
		assert.NoDirExists(t, team.Dir)
	}
}

func TestStartTeamLeavesNothing(t *testing.T) {
	c := tiny()
	c.programs = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(c.programs, "nats-server"), nil, 0o600))
	_, err := c.startTeam(t.Context(), roles.Player{System: roles.NATS, Peers: 1, GOMAXPROCS: 2})
	require.ErrorIs(t, err, os.ErrPermission)
	_, err = c.startTeam(t.Context(), roles.Player{System: "unknown", Peers: 1, GOMAXPROCS: 2})
	require.Error(t, err)
}

func TestTurnsLetEachTeamBegin(t *testing.T) {
	teams := []*contestant{{name: "a"}, {name: "b"}, {name: "c"}}
	begin := map[string]int{}
	for round := range 2 * len(teams) {
		order := turns(teams, round)
		assert.ElementsMatch(t, teams, order)
		begin[order[0].name]++
	}
	assert.Equal(t, map[string]int{"a": 2, "b": 2, "c": 2}, begin)
}

func TestFastestRawTeamIsTheBaseline(t *testing.T) {
	in := func(system string, p50 time.Duration) *contestant {
		return &contestant{name: system, results: []roles.Result{{Latency: roles.Latency{P50: p50}}}}
	}
	teams := []*contestant{in(roles.Raw, 20*time.Microsecond), in(roles.RawReaders, 10*time.Microsecond), in(roles.Framing, 5*time.Microsecond)}
	assert.Equal(t, roles.RawReaders, fastest(teams).name)
	assert.InDeltaSlice(t, []float64{2}, teams[0].ratios(teams[1], p50), 1e-9)
}

func TestSetGOMAXPROCS(t *testing.T) {
	c := config{gomaxprocs: []int{1, 2}}
	require.NoError(t, c.setGOMAXPROCS("4,1"))
	assert.Equal(t, []int{4, 1}, c.gomaxprocs)
	for _, list := range []string{"", "0", "1,", "x"} {
		require.Error(t, c.setGOMAXPROCS(list), list)
	}
}

func TestChoose(t *testing.T) {
	names := func(list string) (names []string) {
		chosen, err := choose(list)
		require.NoError(t, err)
		for _, m := range chosen {
			names = append(names, m.name)
		}
		return names
	}
	assert.Len(t, names(""), len(experiments))
	assert.Equal(t, []string{"round-trip", "one-way", "fan-out", "mesh-start", "join", "stalled-peer"}, names("mesh"))
	assert.Equal(t, []string{"invalidate", "hits", "hit", "catalog"}, names("cache"))
	assert.Equal(t, []string{"memory", "fan-out"}, names("fan-out,memory"))
	_, err := choose("fan-out,x")
	require.ErrorContains(t, err, `no table "x"`)
}
