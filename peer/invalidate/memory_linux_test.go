package invalidate

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/internal/inside"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/peer/bus"
)

// sharedFiles returns paths by which any process of our user gets at what a process shares with others.
func sharedFiles(t *testing.T, p *process, but string) (paths []string) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(p.command.Process.Pid))
	maps, err := os.Open(filepath.Join(proc, "maps"))
	require.NoError(t, err)
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 6 && fields[1] == "rw-s" && fields[5] != but {
			paths = append(paths, fields[5]) // of a file that has a name
		}
	}
	links, err := filepath.Glob(filepath.Join(proc, "fd", "*"))
	require.NoError(t, err)
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "/memfd:") {
			paths = append(paths, link)
		}
	}
	return paths
}

// attacks are ways to damage a file.
var attacks = map[string]func(path string) error{
	"truncate": func(path string) error { return os.Truncate(path, 0) },
	"extend":   func(path string) error { return os.Truncate(path, 1<<30) },
	"open to write anew": func(path string) error {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err == nil {
			err = file.Close()
		}
		return err
	},
	"append": func(path string) error {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		end, err := file.Seek(0, 2)
		if err == nil {
			_, err = file.WriteAt([]byte("more"), end)
		}
		return err
	},
	"seal": func(path string) error {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_FUTURE_WRITE)
		return err
	},
	"remove": os.Remove,
}

// twoCitizens returns two processes that share memory.
func twoCitizens(t *testing.T) (l *ledger, path string, processes []*process) {
	t.Helper()
	dir := makeDirectory(t)
	l, path = createLedger(t)
	for id := range 2 {
		p := startCitizen(t, citizenJob{Directory: dir, Ledger: path, ID: id + 1, Idle: true})
		p.awaitReady(t)
		processes = append(processes, p)
	}
	for _, p := range processes {
		eventually(t, func() bool {
			_, serving := p.get(t, 1)
			return serving
		}, "it serves")
	}
	return l, path, processes
}

// change makes a process change a row, and returns how many messages it has sent since it began.
func (p *process) change(t *testing.T, key int) (sent int) {
	t.Helper()
	p.tell("change %d", key)
	var failed string
	_, err := fmt.Sscan(p.line(t), &failed, &sent)
	require.NoError(t, err)
	require.Equal(t, "<nil>", failed)
	return sent
}

// Other programs of the user cannot take the memory away from the processes that share it: they live, go on sharing it, and
// serve nothing old.
func TestMemoryUnderAttack(t *testing.T) {
	t.Parallel()
	for what, attack := range attacks {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l, ledgerPath, processes := twoCitizens(t)
			attacked := 0
			for _, p := range processes {
				for _, path := range sharedFiles(t, p, ledgerPath) {
					attacked++
					require.Error(t, attack(path), path)
				}
			}
			assert.Positive(t, attacked)
			for i, p := range processes {
				other := processes[1-i]
				other.get(t, 7)
				assert.Zero(t, p.change(t, 7), "they share memory")
				got, serving := other.get(t, 7)
				assert.Equal(t, l.version[7].Load(), got)
				assert.True(t, serving)
			}
		})
	}
}

// A program of the same user can write to the memory. Zeros, or foreign values, make nothing stale.
func TestMemoryThatIsOverwritten(t *testing.T) {
	t.Parallel()
	l, ledgerPath, processes := twoCitizens(t)
	path := sharedFiles(t, processes[0], ledgerPath)[0]
	for round := range 6 {
		p := processes[round%2]
		memory, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		info, err := memory.Stat()
		require.NoError(t, err)
		_, err = memory.WriteAt(make([]byte, info.Size()), 0)
		require.NoError(t, err)
		require.NoError(t, memory.Close())
		p.change(t, 7) // a counter that began at zero has the same value after this in each round
		for _, reader := range processes {
			got, _ := reader.get(t, 7)
			assert.Equal(t, l.version[7].Load(), got)
		}
	}
}

// Without memory from the kernel, messages are used.
func TestProcessWithoutMemory(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	l, path := createLedger(t)
	p := startCitizen(t, citizenJob{Directory: dir, Ledger: path, ID: 1, Idle: true, SmallFile: true})
	p.awaitReady(t)
	here := &citizen{ledger: l}
	c := cacheOf(t, join(t, dir, 0).Bus, Options[int, uint64]{}, here.load)
	awaitPeers(t, c, 1)
	assert.False(t, c.Stats().Peers[0].Shared)
	get(t, c, 7)
	assert.Positive(t, p.change(t, 7))
	assert.Equal(t, l.version[7].Load(), get(t, c, 7))
}

// The memory of a process that hangs is found in /proc.
func TestMemoryOfAStoppedProcess(t *testing.T) {
	t.Parallel()
	dir := makeDirectory(t)
	_, path := createLedger(t)
	p := startCitizen(t, citizenJob{Directory: dir, Ledger: path, ID: 1, Idle: true})
	p.awaitReady(t)
	n := join(t, dir, 0)
	p.freeze(t)
	var r row
	c := cacheOf(t, n.Bus, Options[string, int64]{Name: defaultName}, r.load)
	awaitPeers(t, c, 1)
	assert.True(t, c.Stats().Peers[0].Shared)
	p.signal(syscall.SIGCONT)
}

// A cache logs where its bus does, and that where its mesh does.
func TestLoggerOfTheCluster(t *testing.T) {
	t.Parallel()
	var log, own records
	dir := makeDirectory(t)
	n := joinLogged(t, dir, 0, &log)
	assert.Same(t, inside.Of(n.mesh).Logger(), n.Logger())
	options := Options[string, int64]{}.withDefaults(n.Bus)
	options.Logger.Warn("test")
	assert.Equal(t, 1, log.warnings())

	b, err := bus.New(context.Background(), peer.Solo(peer.Info{Cluster: "test"}), bus.Options{Logger: slog.New(&own)})
	require.NoError(t, err)
	defer b.Close()
	options = Options[string, int64]{}.withDefaults(b)
	options.Logger.Warn("test")
	assert.Equal(t, 1, own.warnings())
	assert.Equal(t, 1, log.warnings())
}
