package invalidate

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	mutation "github.com/multinode-go/multinode/internal/mutant"
)

// mutantEnv tells a mutated test binary, and the processes that it starts, which of the mutants it is.
const mutantEnv = "INVALIDATE_MUTANT"

// mutantTime is how long a storm looks for a stale read without a rule: seconds, but for the slowest machine.
const mutantTime = time.Hour

// A mutant is the package without one of its rules. Its edits are made in copies of the files.
type mutant struct {
	edits []edit
	// kills are the tests that find the mutant, as patterns for -test.run: each of them fails. A storm of processes looks for
	// it where it comes first; else only in a long run, as chance may take its time.
	kills []string
}

// edit replaces the only place of a file with the text old. One binary has all mutants: where new says MUTANT, that is
// true if the mutant runs.
type edit struct{ file, old, new string }

// mutants are the rules of the package documentation, by name, and what the code is without them.
var mutants = map[string]mutant{
	"token": { // rule 1: a void load is stored
		edits: []edit{{"load.go", "\tswitch {\n\tcase it == nil || c.bypass ", `
	if MUTANT && it != nil {
		it.stamp, c.bypass = s.stamp(c.class), false
	}
	switch {
	case it == nil || c.bypass `}},
		kills: []string{"TestStaleSet", "TestLinearizable", "TestCoherence/mixed"},
	},
	"order": { // rule 2: a change is confirmed before it is applied
		edits: []edit{{"group.go", "\ttake := m.stream.change\n", `
	if MUTANT {
		g.confirm(from, in.session, in.seq)
		time.Sleep(minRetry)
	}
	take := m.stream.change
`}},
		kills: []string{"TestCoherence/mixed"},
	},
	"join": { // rule 3: the lease begins without a round
		edits: []edit{
			{"group.go", "\tg.running.Go(g.renewAll)", "\tif MUTANT {\n\t\tg.lease.until.Store(forever)\n\t}\n\tg.running.Go(g.renewAll)"},
			{"group.go", "\tg.lease.until.Store(0)\n", "\tif !MUTANT {\n\t\tg.lease.until.Store(0)\n\t}\n"},
			{"round.go", "\tclear(g.problems)\n", "\tclear(g.problems)\n\tif MUTANT {\n\t\treturn nil\n\t}\n"},
		},
		kills: []string{"TestCoherenceInACluster/mixed", "TestCoherence/mixed"},
	},
	"leave": { // rule 4: a process that leaves goes on serving
		edits: []edit{{"group.go", "\tclose(g.closing)\n\tg.suspendLocked(true)\n", "\tclose(g.closing)\n\tif !MUTANT {\n\t\tg.suspendLocked(true)\n\t}\n"}},
		kills: []string{"TestCacheWithoutItsMesh", "TestCoherence/mixed", "TestCoherenceInACluster/mixed"},
	},
	"proof": { // rule 5: a link that has ended is a proof
		edits: []edit{{"member.go", "e.Reason == peer.ReasonCut:", "e.Reason == peer.ReasonCut && !MUTANT:"}},
		kills: []string{"TestCoherence/mixed"},
	},
	"lease": { // rule 6: the lease never ends
		edits: []edit{{"lease.go", "return now < l.until.Load() }", "return now < l.until.Load() || MUTANT && l.until.Load() != 0 }"}},
		kills: []string{"TestCoherence/mixed", "TestCoherenceInACluster/mixed"},
	},
	"gap": { // rule 7: what is missing in a stream is passed over
		edits: []edit{
			{"stream.go", "case m.seq != s.applied+1:", "case m.seq != s.applied+1 && !MUTANT:"},
			{"round.go", "applied >= answer.seq {", "(applied >= answer.seq || MUTANT && session != 0) {"},
		},
		kills: []string{"TestGapIsAFlush", "TestCoherence/mixed"},
	},
	"life": { // rule 8: a value is good for ever
		edits: []edit{{"load.go", "\tit.refresh.Store(forever)\n", "\tif MUTANT {\n\t\tit.expires = forever\n\t}\n\tit.refresh.Store(forever)\n"}},
		kills: []string{"TestLongestLife"},
	},
	"version": { // rule 8: an older value takes the place of a newer one
		edits: []edit{{"store.go", "if s.opts.Version != nil && it.err == nil {", "if s.opts.Version != nil && it.err == nil && !MUTANT {"}},
		kills: []string{"TestVersionRefusesAnOlderValue"},
	},
	"board": { // rule 9: the kernel is not asked who has the board
		edits: []edit{{"board.go", "== uint64(p) && b.seat.isTaken(row) {", "== uint64(p) && (MUTANT || b.seat.isTaken(row)) {"}},
		kills: []string{"TestCopyOfABoard", "TestCacheWithACopyOfABoard"},
	},
	"sound": { // a board is trusted that another program has written to
		edits: []edit{{"board.go", "if n < b.base {", "if n < b.base && !MUTANT {"}},
		kills: []string{"TestMemoryThatIsOverwritten"},
	},
	"lower": { // a process makes the memory although a lower id was told that it has none
		edits: []edit{{"host_linux.go", "\t\tif h.overtaken {", "\t\tif h.overtaken && !MUTANT {"}},
		kills: []string{"TestLowerIDMakesTheMemory"},
	},
	"abandoned": { // what an abandoned load has returned is stored
		edits: []edit{{"load.go", "|| c.ctx.Err() != nil:", "|| c.ctx.Err() != nil && !MUTANT:"}},
		kills: []string{"TestAbandonedLoad"},
	},
	"settle": { // rule 10, on the board: an update ends with its process
		edits: []edit{{"board.go", "return now() >= e.until", "return now() >= e.until || MUTANT"}},
		kills: []string{"TestMarksOfTheDead", "TestWriterThatDiesBeforeTheCommit", "TestCoherence/shared"},
	},
	"adopt": { // rule 10, by messages
		edits: []edit{{"member.go", "\tg.adopt(m.stream.end())\n", `
	open := m.stream.end()
	if MUTANT {
		for _, key := range open {
			_ = g.target.apply(opEnd, []byte(key))
		}
		open = nil
	}
	g.adopt(open)
`}},
		kills: []string{"TestWriterThatDiesBeforeTheCommit", "TestCoherence/mixed"},
	},
	"told": { // rule 10: a process that comes is not told of the keys
		edits: []edit{{"member.go", "\tb := g.queueLocked(nil, begins, len(keys))\n", "\tif MUTANT {\n\t\tbegins = nil\n\t}\n\tb := g.queueLocked(nil, begins, len(keys))\n"}},
		kills: []string{"TestWriterThatDiesBeforeTheCommit"},
	},
	"found": { // rule 10: and is granted a lease before the others have seen that the writer is dead
		edits: []edit{{"group.go", "\tif !inStep && !g", "\tif !inStep && !MUTANT && !g"}},
		kills: []string{"TestGrantBesideADeadWriter"},
	},
	"distrust": { // rule 10: and not of keys of which only the board knows
		edits: []edit{{"round.go", "\tg.target.distrust(answer.time)\n", "\tif !MUTANT {\n\t\tg.target.distrust(answer.time)\n\t}\n"}},
		kills: []string{"TestWriterThatDiesBeforeTheCommit"},
	},
	"unknown": { // rule 10: an update ends when its commit has returned
		edits: []edit{{"cache.go", "\tisKnown = err == nil ||", "\tisKnown = MUTANT || err == nil ||"}},
		kills: []string{"TestCommitWhoseOutcomeIsUnknown", "TestCommitThatTimesOut", "TestCoherence/shared"},
	},
	"mark": { // order of the board: the counter is raised before the mark is set
		edits: []edit{{"store.go", "func (s *store[K, V]) block(key K) {\n\tclass := s.class(key)\n", `
func (s *store[K, V]) block(key K) {
	class := s.class(key)
	if MUTANT {
		s.dropClass(class, key)
		s.board.mark(s.class(key))
		return
	}
`}},
		kills: []string{"TestOrderOfAnUpdate"},
	},
	"begin": { // order of the board: a load looks for marks before it notes the counter
		edits: []edit{
			{"load.go", "\tc.began, c.token = now(), s.stamp(c.class) // first\n", "\tisFree := MUTANT && s.board.isFree(c.class)\n\tc.began, c.token = now(), s.stamp(c.class)\n"},
			{"load.go", "!s.board.isFree(c.class)", "!(isFree || !MUTANT && s.board.isFree(c.class))"},
		},
		kills: []string{"TestOrderOfALoad"},
	},
	"tag": { // order of the board: the counter of a tag is raised before that is counted
		edits: []edit{{"board.go", "\tb.add(wordTagged)\n\tb.drop(class)\n", "\tif MUTANT {\n\t\tb.drop(class)\n\t}\n\tb.add(wordTagged)\n\tif !MUTANT {\n\t\tb.drop(class)\n\t}\n"}},
		kills: []string{"TestOrderOfADroppedTag"},
	},
	"tags": { // order of the board: a load that ends looks at what was dropped before it notes the counters of its tags
		edits: []edit{
			{"load.go", "\tfor _, name := range names {\n\t\tit.tags", "\tholds := !MUTANT || s.holds(&it.stamp) && (len(names) == 0 || s.board.tagged() == it.stamp.tagged)\n\tfor _, name := range names {\n\t\tit.tags"},
			{"load.go", "\treturn s.holds(&it.stamp) && (len(names) == 0", "\tif MUTANT {\n\t\treturn holds\n\t}\n\treturn s.holds(&it.stamp) && (len(names) == 0"},
		},
		kills: []string{"TestOrderOfTagsThatAreStored"},
	},
	"count": { // rows of the board: an update that ends takes away the mark of another one
		edits: []edit{{"board.go", "if b.marked[group]--; b.marked[group] == 0 {", "if b.marked[group]--; b.marked[group] == 0 || MUTANT {"}},
		kills: []string{"TestMarksOnABoard"},
	},
	"lock": { // rows of the board: one is cleared whose process lives
		edits: []edit{
			{"board.go", "!b.seat.isTaken(row) && b.isSettled", "(MUTANT || !b.seat.isTaken(row)) && b.isSettled"},
			{"memory_linux.go", "\tif !free || err != nil {\n\t\treturn false\n", "\tif (!free || err != nil) && !MUTANT {\n\t\treturn false\n"},
		},
		kills: []string{"TestSharedBoard", "TestRowOfTheDead"},
	},
	"row": { // rows of the board: one is taken that has marks of a process that has ended
		edits: []edit{{"memory_linux.go", "if b.isMarked(b.row) && !b.isSettled(b.row) {", "if b.isMarked(b.row) && !b.isSettled(b.row) && !MUTANT {"}},
		kills: []string{"TestMarksOfTheDead"},
	},
	"turn": { // rows of the board: the time of a process that has ended is taken for that of the next one
		edits: []edit{{"board.go", "!isSeen || e.turn != turn {", "!isSeen || e.turn != turn && !MUTANT {"}},
		kills: []string{"TestMarksOfTheDead"},
	},
	"end": { // rows of the board: a process that leaves in an update takes its marks along
		edits: []edit{{"board.go", "\tif !open {\n", "\tif !open || MUTANT {\n"}},
		kills: []string{"TestMarksOfAProcessThatHasLeft", "TestNodeThatLeavesInAnUpdate"},
	},
	"update": { // contract B: an update is taken for two invalidations
		edits: []edit{
			{"store.go", "\ts.board.mark(class)\n", "\tif !MUTANT {\n\t\ts.board.mark(class)\n\t}\n"},
			{"store.go", "\ts.board.unmark(class)\n", "\tif !MUTANT {\n\t\ts.board.unmark(class)\n\t}\n"},
			{"stream.go", "\t\tif err := s.markLocked(o, string(data))", `
		if MUTANT && (o == opBegin || o == opEnd) {
			o = opKey
		}
		if err := s.markLocked(o, string(data))`},
		},
		kills: []string{"TestCoherence/shared", "TestWriterThatDiesInAnUpdate"},
	},
}

// Without a rule, the tests of that rule fail: they find what is stale.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes: run without -short")
	}
	t.Parallel()
	binary := buildMutants(t)
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		said, err := runMutant(t, binary, "none", "^("+strings.Join(quickKills(), "|")+")$")
		assert.NoError(t, err, "the tests fail with all rules in place:\n%s", said)
	})
	_, isLong := os.LookupEnv(readsEnv)
	for name, m := range mutants {
		for i, test := range m.kills {
			if i > 0 && isStorm(test) && !isLong {
				continue
			}
			t.Run(name+"/"+test, func(t *testing.T) {
				t.Parallel()
				mutantDies(t, binary, name, test)
			})
		}
	}
}

func isStorm(test string) bool { return strings.Contains(test, "/") }

// quickKills returns the tests that take no storm of processes.
func quickKills() (names []string) {
	for _, m := range mutants {
		for _, test := range m.kills {
			if !isStorm(test) {
				names = append(names, test)
			}
		}
	}
	return names
}

// mutantDies runs a test in a mutant, which has to fail: it may not crash, nor be ended.
func mutantDies(t *testing.T, binary, name, test string) {
	t.Helper()
	begin := time.Now()
	said, err := runMutant(t, binary, name, "^"+strings.ReplaceAll(test, "/", "$/^")+"$")
	top, _, _ := strings.Cut(test, "/")
	exit, failed := errors.AsType[*exec.ExitError](err)
	failed = failed && exit.ExitCode() == 1 && strings.Contains(said, "--- FAIL: "+top+" ")
	assert.True(t, failed, "without rule %q, %s does not fail: the rule is not needed, or not tested (%v):\n%s", name, test, err, said)
	t.Log("found after", time.Since(begin))
	for _, line := range regexp.MustCompile(`.*\d+ reads, .*`).FindAllString(said, -1) {
		t.Log(strings.TrimSpace(line))
	}
}

func runMutant(t *testing.T, binary, name, pattern string) (said string, err error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run", pattern)
	command.Env = append(os.Environ(), mutantEnv+"="+name)
	out, err := command.CombinedOutput()
	return string(out), err
}

// buildMutants returns a test binary of this package with all mutants. It has no race detector, which looks for something
// else and makes a read ten times as slow.
func buildMutants(t *testing.T) (binary string) {
	t.Helper()
	const name = "import (\n\t\"os\"\n\t\"time\"\n)\n\nvar mutantName = os.Getenv(%q)\n"
	edits := []mutation.Edit{{File: "clock.go", Old: "import \"time\"\n", New: fmt.Sprintf(name, mutantEnv)}}
	for _, name := range slices.Sorted(maps.Keys(mutants)) {
		for _, e := range mutants[name].edits {
			require.Contains(t, e.new, "MUTANT", "mutant %q", name)
			isOn := fmt.Sprintf("(mutantName == %q)", name)
			edits = append(edits, mutation.Edit{File: e.file, Old: e.old, New: strings.ReplaceAll(e.new, "MUTANT", isOn)})
		}
	}
	return mutation.TestBinary(t, mutation.Overlay(t, edits...), "-race=false", "-vet=off")
}
