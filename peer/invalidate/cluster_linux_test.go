package invalidate

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/cluster/control"
)

const (
	clusterNodes  = 3 // beside the master
	clusterRounds = 1 // of all faults, at least
)

// clusterStorm is a cluster whose nodes read, write and check all the time, and what happens to it.
type clusterStorm struct {
	t       *testing.T
	job     nodeJob
	ledger  *ledger
	random  *rand.Rand
	freeze  time.Duration // the longest
	stderr  *os.File
	control *http.Client
	counts  map[string]int
}

func newClusterStorm(t *testing.T, seed uint64, share sharing) *clusterStorm {
	t.Helper()
	// Under nohup the nodes would inherit that SIGHUP is ignored; of a signal that is caught they inherit the default.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hup) })
	s := &clusterStorm{t: t, random: rand.New(rand.NewPCG(seed, seed)), freeze: shortFreeze, counts: make(map[string]int)}
	temp := t.TempDir()
	s.job = nodeJob{Nodes: clusterNodes, Sharing: share}
	s.job.Directory, s.job.Seed, s.job.Lease = filepath.Join(temp, "dir"), seed, stormLease
	s.ledger, s.job.Ledger = createLedger(t)
	var err error
	s.stderr, err = os.Create(filepath.Join(temp, "stderr"))
	require.NoError(t, err)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.job.Directory, "master.sock"))
	}}
	s.control = &http.Client{Transport: transport, Timeout: time.Second}
	t.Cleanup(s.end)
	s.startMaster()
	s.awaitSettled(func(status control.Status) bool { return status.Wanted == clusterNodes })
	return s
}

// startMaster starts a master: the first one, or a later one that adopts the workers of its predecessor.
func (s *clusterStorm) startMaster() {
	content, err := json.Marshal(s.job)
	require.NoError(s.t, err)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), nodeEnv+"="+string(content), "GORACE=atexit_sleep_ms=0")
	command.Stderr = s.stderr
	require.NoError(s.t, command.Start())
	ended := make(chan none)
	go func() { // ends with the process
		defer close(ended)
		_ = command.Wait()
	}()
	s.t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		<-ended
	})
}

// end ends all that is left.
func (s *clusterStorm) end() {
	s.ledger.stop.Store(1)
	for _, pid := range s.pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	assert.Eventually(s.t, func() bool { return len(s.pids()) == 0 }, patient, time.Millisecond)
	said, err := os.ReadFile(s.stderr.Name())
	require.NoError(s.t, errors.Join(err, s.stderr.Close()))
	assert.NotContains(s.t, string(said), "DATA RACE")
	if s.t.Failed() {
		s.t.Logf("the nodes said:\n%s", said)
	}
}

// pids returns the processes of the cluster that live: they have its directory in their environment.
func (s *clusterStorm) pids() (pids []int) {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	assert.NoError(s.t, err)
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(environ), strconv.Quote(s.job.Directory)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// status asks the master. There may be none.
func (s *clusterStorm) status() (status control.Status, err error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://multinode/status", nil)
	if err != nil {
		return status, err
	}
	response, err := s.control.Do(request)
	if err != nil {
		return status, err
	}
	defer response.Body.Close()
	return status, json.NewDecoder(response.Body).Decode(&status)
}

// awaitSettled waits until the cluster has nothing to do, each of its nodes is ready, and ok says so.
func (s *clusterStorm) awaitSettled(ok func(control.Status) bool) control.Status {
	s.t.Helper()
	var status control.Status
	var err error
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		status, err = s.status()
		if err == nil && status.Doing == "" && len(workers(status)) == status.Wanted && ok(status) {
			return status
		}
	}
	require.Fail(s.t, "the cluster does not settle", "%+v, error %v", status, err)
	return status
}

func always(control.Status) bool { return true }

// workers returns the pids of the workers that are ready, by slot.
func workers(status control.Status) map[int]int {
	pids := make(map[int]int)
	for _, node := range status.Nodes {
		if !node.Master && node.State == control.StateReady {
			pids[node.Slot] = node.PID
		}
	}
	return pids
}

// order sends the master a signal, and waits until ok says that it was obeyed.
func (s *clusterStorm) order(sig syscall.Signal, ok func(before, after control.Status) bool) {
	before := s.awaitSettled(always)
	require.NoError(s.t, syscall.Kill(before.PID, sig))
	s.awaitSettled(func(after control.Status) bool { return ok(before, after) })
}

// isReplaced reports whether a status has none of the workers of an earlier one.
func isReplaced(before, after control.Status) bool {
	old := slices.Collect(maps.Values(workers(before)))
	for _, pid := range workers(after) {
		if slices.Contains(old, pid) {
			return false
		}
	}
	return true
}

// isSucceeded reports whether a status is that of another master, which wants as many nodes.
func isSucceeded(before, after control.Status) bool {
	return after.PID != before.PID && after.Wanted == before.Wanted
}

// clusterFaults are the faults of a cluster. Each function returns when its fault has happened.
var clusterFaults = map[string]func(*clusterStorm){
	"reload": func(s *clusterStorm) { s.order(syscall.SIGHUP, isReplaced) },
	"up": func(s *clusterStorm) {
		s.order(syscall.SIGTTIN, func(before, after control.Status) bool { return after.Wanted == before.Wanted+1 })
	},
	"down": func(s *clusterStorm) {
		s.order(syscall.SIGTTOU, func(before, after control.Status) bool { return after.Wanted == before.Wanted-1 })
	},
	"takeover":         (*clusterStorm).takeOver,
	"kill":             (*clusterStorm).killWorker,
	"kill in a reload": (*clusterStorm).killInReload,
	"kill the master":  (*clusterStorm).killMaster,
	"freeze":           (*clusterStorm).freezeSome,
}

// takeOver tries again when the successor gave up: on a busy machine it may not have reached a worker in time.
func (s *clusterStorm) takeOver() {
	before := s.awaitSettled(always)
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		switch after, err := s.status(); {
		case err != nil || after.Doing != "":
		case after.PID == before.PID:
			require.NoError(s.t, syscall.Kill(before.PID, syscall.SIGUSR2))
		case isSucceeded(before, after):
			s.awaitSettled(always)
			return
		}
	}
	require.Fail(s.t, "nobody succeeds the master")
}

func (s *clusterStorm) killWorker() { s.kill(s.someWorker(s.awaitSettled(always))) }

// killInReload kills a worker while the master replaces one after the other.
func (s *clusterStorm) killInReload() {
	before := s.awaitSettled(always)
	require.NoError(s.t, syscall.Kill(before.PID, syscall.SIGHUP))
	var during control.Status
	require.Eventually(s.t, func() (begun bool) {
		during, _ = s.status()
		return during.Doing == "reload" && len(workers(during)) > 0
	}, patient, time.Millisecond)
	s.kill(s.someWorker(during))
}

// killMaster leaves the workers without a master, until another one adopts them.
func (s *clusterStorm) killMaster() {
	before := s.awaitSettled(always)
	s.job.Nodes = before.Wanted
	s.kill(before.PID)
	time.Sleep(time.Duration(s.random.IntN(300)) * time.Millisecond)
	s.startMaster()
	after := s.awaitSettled(func(after control.Status) bool { return isSucceeded(before, after) })
	assert.False(s.t, isReplaced(before, after), "workers were adopted")
}

// kill kills a node, which may be in an update.
func (s *clusterStorm) kill(pid int) {
	p := openProcess(s.t, pid)
	p.signal(unix.SIGKILL)
	p.awaitEnd(s.t)
}

// freezeSome stops the master or a worker. The master kills a worker that is stopped for long.
func (s *clusterStorm) freezeSome() {
	status := s.awaitSettled(always)
	pid := status.PID
	if s.random.IntN(4) > 0 {
		pid = s.someWorker(status)
	}
	p := openProcess(s.t, pid)
	p.signal(unix.SIGSTOP)
	time.Sleep(someTime(s.random, s.freeze))
	p.signal(unix.SIGCONT)
}

func (s *clusterStorm) someWorker(status control.Status) int {
	pids := workers(status)
	slots := slices.Sorted(maps.Keys(pids)) // so that the seed decides
	return pids[slots[s.random.IntN(len(slots))]]
}

// run does rounds of all faults, each in an order that the seed decides, until there are so many reads, or a stale one.
func (s *clusterStorm) run(enough uint64, rounds int, limit time.Time, faults ...string) (stale uint64) {
	for round := 1; ; round++ {
		var reads uint64
		for _, i := range s.random.Perm(len(faults)) {
			clusterFaults[faults[i]](s)
			s.counts[faults[i]]++
			if reads, stale, _, _ = s.ledger.sums(); stale > 0 || time.Now().After(limit) {
				return stale
			}
		}
		if reads >= enough && round >= rounds {
			return stale
		}
	}
}

func (s *clusterStorm) report() { s.ledger.report(s.t, int(s.ledger.entered.Load()), s.counts) }

// The nodes of a cluster read and write while it is reloaded, scaled, taken over and adopted, and nodes are killed and
// stopped. No process ever sees less than the watermark.
func TestCoherenceInACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute: run without -short")
	}
	eachPopulation(t, func(t *testing.T, shared bool) {
		t.Helper()
		without := os.Getenv(mutantEnv)
		share := someShare
		switch {
		case shared:
			share = allShare
		case without != "":
			share = noneShares
		}
		s := newClusterStorm(t, seed(t), share)
		enough, freeze, limit := extent(t)
		s.freeze = freeze
		faults := clusterFaultsWithout(without)
		s.run(enough, clusterRounds, limit, faults...)
		s.stop()
		s.report()
		reads, stale, _, _ := s.ledger.sums()
		assert.Zero(t, stale)
		if without != "" {
			return
		}
		assert.GreaterOrEqual(t, reads, enough)
		for _, fault := range faults {
			assert.GreaterOrEqual(t, s.counts[fault], clusterRounds, fault)
		}
	})
}

// stop stops the cluster as a user does.
func (s *clusterStorm) stop() {
	require.NoError(s.t, syscall.Kill(s.awaitSettled(always).PID, syscall.SIGTERM))
	require.Eventually(s.t, func() bool { return len(s.pids()) == 0 }, patient, time.Millisecond, "all leave")
}

// clusterFaultsWithout returns the faults of a cluster without a rule: all, or the everyday fault that the mutant does not
// survive.
func clusterFaultsWithout(rule string) []string {
	if fault := map[string]string{"join": "reload", "leave": "reload", "lease": "freeze"}[rule]; fault != "" {
		return []string{fault}
	}
	return slices.Sorted(maps.Keys(clusterFaults))
}
