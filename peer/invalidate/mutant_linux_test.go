package invalidate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mutantEnv tells a mutated test binary, and the processes that it starts, which of the mutants it is.
const mutantEnv = "INVALIDATE_MUTANT"

// mutantTime is how long a storm looks for a stale read without a rule: seconds, but for the slowest machine.
const mutantTime = time.Hour

// A mutant is the package without one of its rules. Its edits are made in copies of the files, see go help build, -overlay.
type mutant struct {
	edits []edit
	// kills are the tests that find the mutant, as patterns for -test.run: each of them fails.
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
		kills: []string{"TestCoherence/mixed", "TestCoherenceInACluster/mixed"},
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
		kills: []string{"TestWriterThatDiesInAnUpdate", "TestCoherence/shared"},
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
	for name, m := range mutants {
		for _, test := range m.kills {
			t.Run(name+"/"+test, func(t *testing.T) {
				t.Parallel()
				mutantDies(t, binary, name, test)
			})
		}
	}
}

// quickKills returns the tests that take no storm of processes.
func quickKills() (names []string) {
	for _, m := range mutants {
		for _, test := range m.kills {
			if !strings.Contains(test, "/") {
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
	temp := t.TempDir()
	here, err := os.Getwd()
	require.NoError(t, err)
	replace := make(map[string]string)
	for file, content := range mutatedFiles(t) {
		path := filepath.Join(temp, file)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		replace[filepath.Join(here, file)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	path := filepath.Join(temp, "overlay.json")
	require.NoError(t, os.WriteFile(path, overlay, 0o600))
	binary = filepath.Join(temp, "mutants.test")
	said, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-race=false", "-vet=off", "-overlay", path, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", said)
	return binary
}

// mutatedFiles returns the files that the mutants change, and one that says which one of them runs.
func mutatedFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{
		"mutant.go": fmt.Sprintf("package invalidate\n\nimport \"os\"\n\nvar mutantName = os.Getenv(%q)\n", mutantEnv),
	}
	for name, m := range mutants {
		for _, e := range m.edits {
			original, err := os.ReadFile(e.file)
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(string(original), e.old), "mutant %q: how often %s has %q", name, e.file, e.old)
			require.Contains(t, e.new, "MUTANT", "mutant %q", name)
			if files[e.file] == "" {
				files[e.file] = string(original)
			}
			require.Contains(t, files[e.file], e.old, "mutant %q and another one edit the same place of %s", name, e.file)
			mutated := strings.ReplaceAll(e.new, "MUTANT", fmt.Sprintf("(mutantName == %q)", name))
			files[e.file] = strings.Replace(files[e.file], e.old, mutated, 1)
		}
	}
	return files
}
