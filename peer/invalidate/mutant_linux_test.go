package invalidate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	mutation "github.com/multinode-go/multinode/internal/mutant"
)

// mutantEnv selects the mutant in a mutated test binary, and in the processes that it starts.
const mutantEnv = "INVALIDATE_MUTANT"

// mutantTime bounds the search of a storm for a stale read without a rule. It takes seconds, except on a very slow machine.
const mutantTime = time.Hour

// A mutant is the package without one of its rules. Its edits are made in copies of the files.
type mutant struct {
	edits []edit
	// kills are the tests that find the mutant, as patterns for -test.run, after the package if it is one below: each of them
	// fails. A storm of processes looks for it where it comes first; else only in a long run, as chance may take its time.
	kills []string
}

// edit replaces the only place of a file with the text old. The binaries have all mutants: where new says MUTANT, that is
// true if the mutant runs.
type edit struct{ file, old, new string }

// mutants are the rules of the package documentation, by name, and what the code is without them.
var mutants = map[string]mutant{
	"token": { // rule 1: a void load is stored
		edits: []edit{{"internal/versioned/load.go", "\tswitch {\n\tcase it == nil || c.bypass ", `
	if MUTANT && it != nil {
		it.stamp, c.bypass = s.stamp(c.class), false
	}
	switch {
	case it == nil || c.bypass `}},
		kills: []string{"TestStaleSet", "TestLinearizable", "TestCoherence/mixed"},
	},
	"order": { // rule 2: a change is confirmed before it is applied
		edits: []edit{{"holder.go", "\ttake := m.stream.change\n", `
	if MUTANT {
		h.confirm(from, in.Session, in.Seq)
		time.Sleep(minRetry)
	}
	take := m.stream.change
`}},
		kills: []string{"TestCoherence/mixed"},
	},
	"join": { // rule 3: the lease begins without a round
		edits: []edit{
			{"group.go", "\tg.holder.running.Go(g", "\tif MUTANT {\n\t\tg.members.lease.RunUntil(mutation.Forever)\n\t}\n\tg.holder.running.Go(g"},
			{"lease.go", "\tms.lease.Suspend()\n", "\tif !MUTANT {\n\t\tms.lease.Suspend()\n\t}\n"},
			{"lease.go", "\tclear(ms.problems)\n", "\tclear(ms.problems)\n\tif MUTANT {\n\t\treturn nil\n\t}\n"},
		},
		kills: []string{"TestCoherenceInACluster/mixed", "TestCoherence/mixed"},
	},
	"leave": { // rule 4: a process that leaves goes on serving
		edits: []edit{{"lease.go", "\tclose(ms.closing)\n\tms.suspendLocked(true)\n", "\tclose(ms.closing)\n\tif !MUTANT {\n\t\tms.suspendLocked(true)\n\t}\n"}},
		kills: []string{"TestCacheWithoutItsMesh", "TestCoherence/mixed", "TestCoherenceInACluster/mixed"},
	},
	"proof": { // rule 5: a link that has ended is a proof
		edits: []edit{{"membership.go", "e.Reason == peer.ReasonCut:", "e.Reason == peer.ReasonCut && !MUTANT:"}},
		kills: []string{"TestCoherence/mixed"},
	},
	"lease": { // rule 6: the lease never ends
		edits: []edit{{"internal/versioned/lease.go", "return now < l.until.Load() }", "return now < l.until.Load() || MUTANT && l.until.Load() != 0 }"}},
		kills: []string{"TestCoherence/mixed", "TestCoherenceInACluster/mixed"},
	},
	"gap": { // rule 7: a gap in a stream is ignored
		edits: []edit{
			{"stream.go", "case m.Seq != s.applied+1:", "case m.Seq != s.applied+1 && !MUTANT:"},
			{"round.go", "applied >= answer.Seq {", "(applied >= answer.Seq || MUTANT && session != 0) {"},
		},
		kills: []string{"TestGapIsAFlush", "TestCoherence/mixed"},
	},
	"life": { // rule 8: a value is good for ever
		edits: []edit{{"internal/versioned/load.go", "\tit.refresh.Store(clock.Forever)\n", "\tif MUTANT {\n\t\tit.expires = clock.Forever\n\t}\n\tit.refresh.Store(clock.Forever)\n"}},
		kills: []string{"TestLongestLife"},
	},
	"version": { // rule 8: an older value takes the place of a newer one
		edits: []edit{{"internal/versioned/values.go", "if v.config.Version != nil && it.err == nil {", "if v.config.Version != nil && it.err == nil && !MUTANT {"}},
		kills: []string{"TestVersionRefusesAnOlderValue"},
	},
	"table": { // rule 9: the kernel is not asked for the locks of the table
		edits: []edit{{"internal/versioned/table.go", "== uint64(p) && t.locks.isTaken(slot) {", "== uint64(p) && (MUTANT || t.locks.isTaken(slot)) {"}},
		kills: []string{"versioned.TestCopyOfATable", "TestCacheWithACopyOfATable"},
	},
	"sound": { // a table is trusted that another program has written to
		edits: []edit{{"internal/versioned/table.go", "if n < t.base {", "if n < t.base && !MUTANT {"}},
		kills: []string{"TestMemoryThatIsOverwritten"},
	},
	"lower": { // a process makes the memory although a lower id was told that it has none
		edits: []edit{{"host_linux.go", "\t\tif h.overtaken {", "\t\tif h.overtaken && !MUTANT {"}},
		kills: []string{"TestLowerIDMakesTheMemory"},
	},
	"abandoned": { // what an abandoned load has returned is stored
		edits: []edit{{"internal/versioned/load.go", "|| c.ctx.Err() != nil:", "|| c.ctx.Err() != nil && !MUTANT:"}},
		kills: []string{"versioned.TestAbandonedLoad"},
	},
	"settle": { // rule 10, on the table: an update ends with its process
		edits: []edit{{"internal/versioned/table.go", "return clock.Now() >= e.until", "return clock.Now() >= e.until || MUTANT"}},
		kills: []string{"versioned.TestMarksOfTheDead", "TestWriterThatDiesBeforeTheCommit", "TestCoherence/shared"},
	},
	"adopt": { // rule 10, by messages
		edits: []edit{{"membership.go", "\tms.adopt(m.stream.end())\n", `
	open := m.stream.end()
	if MUTANT {
		for _, key := range open {
			_ = ms.target.apply(wire.OpEnd, []byte(key))
		}
		open = nil
	}
	ms.adopt(open)
`}},
		kills: []string{"TestWriterThatDiesBeforeTheCommit", "TestCoherence/mixed"},
	},
	"told": { // rule 10: a process that comes is not told of the keys
		edits: []edit{{"writer.go", "\tb := w.queueLocked(nil, begins, len(keys))\n", "\tif MUTANT {\n\t\tbegins = nil\n\t}\n\tb := w.queueLocked(nil, begins, len(keys))\n"}},
		kills: []string{"TestWriterThatDiesBeforeTheCommit"},
	},
	"found": { // rule 10: and is granted a lease before the others have seen that the writer is dead
		edits: []edit{{"writer.go", "|| !inStep && !w.isToldLocked", "|| !inStep && !MUTANT && !w.isToldLocked"}},
		kills: []string{"TestGrantBesideADeadWriter"},
	},
	"distrust": { // rule 10: and not of keys of which only the table knows
		edits: []edit{{"round.go", "\th.target.Distrust(answer.Time)\n", "\tif !MUTANT {\n\t\th.target.Distrust(answer.Time)\n\t}\n"}},
		kills: []string{"TestWriterThatDiesBeforeTheCommit"},
	},
	"unknown": { // rule 10: an update ends when its commit has returned
		edits: []edit{{"cache.go", "\tisKnown = err == nil ||", "\tisKnown = MUTANT || err == nil ||"}},
		kills: []string{"TestCommitWhoseOutcomeIsUnknown", "TestCommitThatTimesOut", "TestCoherence/shared"},
	},
	"mark": { // order of the table: the counter is raised before the mark is set
		edits: []edit{{"internal/versioned/values.go", "func (v *values[K, V]) Block(key K) {\n\tclass := v.class(key)\n", `
func (v *values[K, V]) Block(key K) {
	class := v.class(key)
	if MUTANT {
		v.dropClass(class, key)
		v.table.mark(v.class(key))
		return
	}
`}},
		kills: []string{"versioned.TestOrderOfAnUpdate"},
	},
	"begin": { // order of the table: a load looks for marks before it notes the counter
		edits: []edit{
			{"internal/versioned/load.go", "\tc.began, c.token = clock.Now(), s.stamp(c.class) // first\n", "\tisFree := MUTANT && s.table.isFree(c.class)\n\tc.began, c.token = clock.Now(), s.stamp(c.class)\n"},
			{"internal/versioned/load.go", "!s.table.isFree(c.class)", "!(isFree || !MUTANT && s.table.isFree(c.class))"},
		},
		kills: []string{"versioned.TestOrderOfALoad"},
	},
	"tag": { // order of the table: the counter of a tag is raised before that is counted
		edits: []edit{{"internal/versioned/table.go", "\tt.add(wordTagged)\n\tt.drop(class)\n", "\tif MUTANT {\n\t\tt.drop(class)\n\t}\n\tt.add(wordTagged)\n\tif !MUTANT {\n\t\tt.drop(class)\n\t}\n"}},
		kills: []string{"versioned.TestOrderOfADroppedTag"},
	},
	"tags": { // order of the table: a load that ends looks at what was dropped before it notes the counters of its tags
		edits: []edit{
			{"internal/versioned/values.go", "\tfor _, name := range names {\n\t\tit.tags", "\tholds := !MUTANT || v.holds(&it.stamp) && (len(names) == 0 || v.table.tagged() == it.stamp.tagged)\n\tfor _, name := range names {\n\t\tit.tags"},
			{"internal/versioned/values.go", "\treturn v.holds(&it.stamp) && (len(names) == 0", "\tif MUTANT {\n\t\treturn holds\n\t}\n\treturn v.holds(&it.stamp) && (len(names) == 0"},
		},
		kills: []string{"versioned.TestOrderOfTagsThatAreStored"},
	},
	"count": { // slots of the table: an update that ends takes away the mark of another one
		edits: []edit{{"internal/versioned/table.go", "if t.marked[group]--; t.marked[group] == 0 {", "if t.marked[group]--; t.marked[group] == 0 || MUTANT {"}},
		kills: []string{"versioned.TestMarksOnATable"},
	},
	"lock": { // slots of the table: one is cleared whose process lives
		edits: []edit{
			{"internal/versioned/table.go", "!t.locks.isTaken(slot) && t.isSettled", "(MUTANT || !t.locks.isTaken(slot)) && t.isSettled"},
			{"internal/versioned/table.go", "\tif !free || err != nil {\n\t\treturn false\n", "\tif (!free || err != nil) && !MUTANT {\n\t\treturn false\n"},
		},
		kills: []string{"versioned.TestSharedTable", "versioned.TestSlotOfTheDead"},
	},
	"slot": { // slots of the table: one is taken that has marks of a process that has ended
		edits: []edit{{"internal/versioned/memory_linux.go", "if t.isMarked(t.slot) && !t.isSettled(t.slot) {", "if t.isMarked(t.slot) && !t.isSettled(t.slot) && !MUTANT {"}},
		kills: []string{"versioned.TestMarksOfTheDead"},
	},
	"turn": { // slots of the table: the time of a process that has ended is taken for that of the next one
		edits: []edit{{"internal/versioned/table.go", "!isSeen || e.turn != turn {", "!isSeen || e.turn != turn && !MUTANT {"}},
		kills: []string{"versioned.TestMarksOfTheDead"},
	},
	"end": { // slots of the table: a process that leaves in an update takes its marks along
		edits: []edit{{"internal/versioned/table.go", "\tif !open {\n", "\tif !open || MUTANT {\n"}},
		kills: []string{"versioned.TestMarksOfAProcessThatHasLeft", "TestNodeThatLeavesInAnUpdate"},
	},
	"update": { // contract B: an update is taken for two invalidations
		edits: []edit{
			{"internal/versioned/values.go", "\tv.table.mark(class)\n", "\tif !MUTANT {\n\t\tv.table.mark(class)\n\t}\n"},
			{"internal/versioned/values.go", "\tv.table.unmark(class)\n", "\tif !MUTANT {\n\t\tv.table.unmark(class)\n\t}\n"},
			{"stream.go", "\t\tif err := s.markLocked(o, string(data))", `
		if MUTANT && (o == wire.OpBegin || o == wire.OpEnd) {
			o = wire.OpKey
		}
		if err := s.markLocked(o, string(data))`},
		},
		kills: []string{"TestCoherence/shared", "TestWriterThatDiesInAnUpdate"},
	},
}

// Without a rule, the tests of that rule fail: they find stale values.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes: run without -short")
	}
	t.Parallel()
	binaries := buildMutants(t)
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		for pkg, names := range quickKills() {
			said, err := runMutant(t, binaries[pkg], "none", "^("+strings.Join(names, "|")+")$")
			assert.NoError(t, err, "the tests fail with all rules in place:\n%s", said)
		}
	})
	_, isLong := os.LookupEnv(readsEnv)
	for name, m := range mutants {
		for i, test := range m.kills {
			if i > 0 && isStorm(test) && !isLong {
				continue
			}
			t.Run(name+"/"+test, func(t *testing.T) {
				t.Parallel()
				mutantDies(t, binaries, name, test)
			})
		}
	}
}

func isStorm(test string) bool { return strings.Contains(test, "/") }

// split returns the package of a test below this one, empty for this one, and the test.
func split(kill string) (pkg, test string) {
	if pkg, test, isBelow := strings.Cut(kill, "."); isBelow {
		return pkg, test
	}
	return "", kill
}

// quickKills returns the tests that take no storm of processes, by package.
func quickKills() map[string][]string {
	names := make(map[string][]string)
	for _, m := range mutants {
		for _, kill := range m.kills {
			if pkg, test := split(kill); !isStorm(test) {
				names[pkg] = append(names[pkg], test)
			}
		}
	}
	return names
}

// mutantDies runs a test in a mutant, which has to fail: it may not crash, nor be ended.
func mutantDies(t *testing.T, binaries map[string]string, name, kill string) {
	t.Helper()
	begin := time.Now()
	pkg, test := split(kill)
	said, err := runMutant(t, binaries[pkg], name, "^"+strings.ReplaceAll(test, "/", "$/^")+"$")
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

// buildMutants returns the test binaries of the packages that have the tests, each with all mutants. They have no race detector,
// which looks for something else and makes a read ten times as slow.
func buildMutants(t *testing.T) map[string]string {
	t.Helper()
	edits := []mutation.Edit{ // in a package that all others import
		{File: "internal/clock/clock.go", Old: "\t\"math\"\n", New: "\t\"math\"\n\t\"os\"\n"},
		{File: "internal/clock/clock.go", Old: "var epoch", New: fmt.Sprintf("var Mutant = os.Getenv(%q)\n\nvar epoch", mutantEnv)},
	}
	imports := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(mutants)) {
		for _, e := range mutants[name].edits {
			require.Contains(t, e.new, "MUTANT", "mutant %q", name)
			isOn := fmt.Sprintf("(mutation.Mutant == %q)", name)
			edits = append(edits, mutation.Edit{File: e.file, Old: e.old, New: strings.ReplaceAll(e.new, "MUTANT", isOn)})
			imports[e.file] = true
		}
	}
	for file := range imports {
		name := "package " + cmp.Or(strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "."), "invalidate") + "\n"
		with := name + "\nimport mutation \"github.com/multinode-go/multinode/peer/invalidate/internal/clock\"\n"
		edits = append(edits, mutation.Edit{File: file, Old: name, New: with})
	}
	overlay := mutation.Overlay(t, edits...)
	binaries := make(map[string]string)
	for pkg := range quickKills() {
		binaries[pkg] = mutation.TestBinaryOf(t, overlay, folder(pkg), "-race=false", "-vet=off")
	}
	return binaries
}

// folder returns where a package below this one is.
func folder(pkg string) string {
	if pkg == "" {
		return "."
	}
	return "./internal/" + pkg
}
