package invalidate

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// readsEnv and seedEnv choose how many reads are checked, and the faults.
	readsEnv = "COHERENCE_READS"
	seedEnv  = "COHERENCE_SEED"

	// shortReads are checked without the race detector, which makes a hit ten times as dear, and raceReads with it.
	shortReads = 10_000_000
	raceReads  = 200_000
	// shortFreeze and longFreeze are how long a process is stopped at most.
	shortFreeze = 1500 * time.Millisecond
	longFreeze  = 10 * time.Second
	stormLease  = 500 * time.Millisecond
	population  = 4
)

// storm are processes that read, write and check all the time, and what happens to them.
type storm struct {
	t       *testing.T
	dir     string
	ledger  *ledger
	path    string
	random  *rand.Rand
	without string        // the rule that this mutant has not; empty: none is missing
	shared  bool          // all share memory, as they do by default
	freeze  time.Duration // the longest
	alive   []*process
	nextID  int
	counts  map[string]int
}

func newStorm(t *testing.T, seed uint64, shared bool) *storm {
	t.Helper()
	s := &storm{
		t: t, dir: makeDirectory(t), random: rand.New(rand.NewPCG(seed, seed)), without: os.Getenv(mutantEnv), shared: shared,
		freeze: shortFreeze, counts: make(map[string]int),
	}
	s.ledger, s.path = createLedger(t)
	t.Cleanup(func() { s.ledger.stop.Store(1) })
	for range population {
		s.spawn().awaitReady(t)
	}
	return s
}

// spawn starts a process. Some have a bus that is soon full, some apply slowly.
func (s *storm) spawn() *process {
	s.nextID++
	job := citizenJob{
		Directory: s.dir, Ledger: s.path, ID: s.nextID, Seed: s.random.Uint64(), Lease: stormLease,
		Slow: s.random.IntN(3) == 0, Messages: s.byMessages(),
	}
	switch {
	case s.without == "gap":
		job.Window, job.Slow = 1, true
	case s.random.IntN(2) == 0:
		job.Window = 64
	}
	p := startCitizen(s.t, job)
	s.alive = append(s.alive, p)
	return p
}

// byMessages reports whether the next process shares no memory. Most rules are for messages.
func (s *storm) byMessages() bool {
	switch s.without {
	case "", "token", "update", "settle":
		return !s.shared && s.random.IntN(2) == 0
	default:
		return true
	}
}

// take takes one process out.
func (s *storm) take() *process {
	i := s.random.IntN(len(s.alive))
	p := s.alive[i]
	s.alive = append(s.alive[:i:i], s.alive[i+1:]...)
	return p
}

func (s *storm) some() *process { return s.alive[s.random.IntN(len(s.alive))] }

// critical is the fault that a rule protects from. It happens often in the mutant without the rule.
var critical = map[string]string{"join": "join", "leave": "leave", "proof": "cut", "lease": "freeze", "update": "kill", "settle": "kill", "adopt": "kill"}

// fault does something to the processes, and waits until it has happened.
func (s *storm) fault() {
	names := []string{"kill", "freeze", "cut", "files", "leave", "close", "join"}
	name := names[s.random.IntN(len(names))]
	if often := critical[s.without]; often != "" && s.random.IntN(2) == 0 {
		name = often
	}
	s.counts[name]++
	switch name {
	case "kill":
		s.kill()
	case "freeze":
		s.freezeSome()
	case "leave", "close":
		s.replace(name)
	case "join":
		s.joinMany()
	default:
		s.some().tell("%s", name)
	}
	time.Sleep(time.Duration(s.random.IntN(300)) * time.Millisecond)
}

// kill kills a process, which may be in an update: before the server has got its write, before that has committed it, or
// afterwards.
func (s *storm) kill() {
	s.take().kill()
	s.spawn().awaitReady(s.t)
}

func (s *storm) freezeSome() {
	p := s.some()
	p.freeze(s.t)
	time.Sleep(someTime(s.random, s.freeze))
	p.signal(syscall.SIGCONT)
}

// someTime is how long a process is stopped: most often not for long.
func someTime(random *rand.Rand, longest time.Duration) time.Duration {
	if random.IntN(3) > 0 {
		longest /= 4
	}
	return 10*time.Millisecond + time.Duration(random.Int64N(int64(longest)))
}

// replace makes a process leave in a way.
func (s *storm) replace(way string) {
	p := s.take()
	p.tell("%s", way)
	p.ended = true
	require.NoError(s.t, p.command.Wait())
	_ = p.in.Close()
	s.spawn().awaitReady(s.t)
}

// joinMany lets several processes come at once, and the oldest go.
func (s *storm) joinMany() {
	for range 3 {
		s.spawn()
	}
	for _, p := range s.alive[len(s.alive)-3:] {
		p.awaitReady(s.t)
	}
	for len(s.alive) > population {
		s.alive[0].kill()
		s.alive = s.alive[1:]
	}
}

// run does faults until there are so many reads, or a stale one, and returns how many there were of each.
func (s *storm) run(enough uint64, faults int, limit time.Time) (reads, stale uint64) {
	for i := 0; ; i++ {
		reads, stale, _, _ = s.ledger.sums()
		if stale > 0 || reads >= enough && i >= faults || time.Now().After(limit) || s.nextID > maxCitizens-population {
			return reads, stale
		}
		s.fault()
	}
}

func (s *storm) report() { s.ledger.report(s.t, s.nextID, s.counts) }

func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("%s=%d", seedEnv, n)
	return n
}

// extent returns how many reads are to be checked in each of two populations, how long a process is stopped at most, and when
// to give up. A mutant reads until it has found a stale value.
func extent(t *testing.T) (reads uint64, freeze time.Duration, limit time.Time) {
	t.Helper()
	limit = time.Now().Add(24 * time.Hour)
	text := os.Getenv(readsEnv)
	switch {
	case os.Getenv(mutantEnv) != "":
		return 1 << 62, shortFreeze, time.Now().Add(mutantTime)
	case text != "":
		reads, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return reads / 2, longFreeze, limit
	case raceEnabled:
		return raceReads / 2, shortFreeze, limit
	default:
		return shortReads / 2, shortFreeze, limit
	}
}

// Processes read, write, and are killed, stopped, cut off, starved and replaced. No process ever sees less than the watermark.
func TestCoherence(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: run without -short")
	}
	eachPopulation(t, func(t *testing.T, shared bool) {
		t.Helper()
		s := newStorm(t, seed(t), shared)
		enough, freeze, limit := extent(t)
		s.freeze = freeze
		reads, stale := s.run(enough, 12, limit)
		s.report()
		assert.Zero(t, stale)
		if s.without == "" {
			assert.GreaterOrEqual(t, reads, enough)
		}
	})
}

// eachPopulation runs a test with processes that all share memory, and with some that do not.
func eachPopulation(t *testing.T, test func(t *testing.T, shared bool)) {
	t.Helper()
	t.Run("shared", func(t *testing.T) { test(t, true) })
	t.Run("mixed", func(t *testing.T) { test(t, false) })
}
