package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// joinPort is a program that knows nothing of clusters, and shares a port all the same.
func joinPort() error {
	l, err := reuseport.Listen(context.Background(), "tcp", os.Getenv("MULTINODE_TEST_PORT"), reuseport.Options{})
	if err != nil {
		return err
	}
	fmt.Println("joined", l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(answer{PID: os.Getpid(), Slot: -1})
	}))
}

// letJoin starts a stranger on the port, and returns it when it listens.
func letJoin(t *testing.T, addr string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), programVariable+"=join", "MULTINODE_TEST_PORT="+addr)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var word, where string
	_, err = fmt.Fscanln(out, &word, &where)
	require.NoError(t, err)
	return cmd
}

// needSteering skips if the level does not steer by program.
func needSteering(t *testing.T) {
	t.Helper()
	if reuseport.Probe().Rung < reuseport.RungBPF {
		t.Skip("this kernel cannot replace a steering program under load: multinode doctor says why")
	}
}

func TestStranger(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: true})
	addr := c.ready(t)
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known })
	other := letJoin(t, addr)
	s := c.awaitStatus(t, func(s control.Status) bool { return len(s.Steering.Strangers) == 1 && s.Steering.Known })
	assert.Equal(t, other.Process.Pid, s.Steering.Strangers[0].PID)
	assert.NotEmpty(t, s.Steering.Strangers[0].Program)
	assert.Equal(t, addr, s.Steering.Strangers[0].Address)
	assert.Equal(t, other.Process.Pid, c.told(t, control.EventStranger, 1).PID)
	for range 100 {
		a, err := get(addr, "/")
		require.NoError(t, err)
		require.NotEqual(t, -1, a.Slot, "a stranger gets nothing")
	}
	survey(t, addr, 3)

	require.NoError(t, other.Process.Kill())
	c.awaitStatus(t, func(s control.Status) bool { return len(s.Steering.Strangers) == 0 && s.Steering.Known })
	survey(t, addr, 3)
	assert.Len(t, c.toldSoFar(t, isOf(control.EventStranger)), 1, "it is reported once")
	_, body := c.order(t, http.MethodGet, "/status")
	assert.NotContains(t, body, `"strangers"`)
}

// TestMapAfterDeaths kills workers at once, and checks by a drain of the others that each is where the master
// thinks: a wrong map would lose the connections of the leaving node.
func TestMapAfterDeaths(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 4, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	pids := pidsOf(c.status(t))
	require.NoError(t, syscall.Kill(pids[1], syscall.SIGKILL))
	require.NoError(t, syscall.Kill(pids[3], syscall.SIGKILL))
	c.awaitStatus(t, func(s control.Status) bool {
		return len(pidsOf(s)) == 4 && pidsOf(s)[1] != pids[1] && pidsOf(s)[3] != pids[3] && s.Steering.Known
	})
	load := underLoad(t, addr)
	c.ordered(t, "/drain/2")
	c.ordered(t, "/reload")
	noneFailed(t, load)
	survey(t, addr, 4)
}

// TestEachRung forces each level that this machine has.
func TestEachRung(t *testing.T) {
	t.Parallel()
	best := reuseport.Probe().Rung
	for _, name := range []string{"hash", "incoming-cpu", "cbpf", "cbpf+migrate"} {
		t.Run(name, func(t *testing.T) {
			level, err := reuseport.ParseRung(name)
			require.NoError(t, err)
			if level > best {
				t.Skip("not here: see TestSteeringThatIsNotToBeHad")
			}
			t.Parallel()
			c := run(t, "http", programOptions{Nodes: 3, Steering: name, DisableMasterListen: true, LameDuck: shortDuck})
			addr := c.ready(t)
			s := c.status(t)
			assert.Equal(t, name, s.Steering.Level)
			assert.Equal(t, level.Promise(), s.Steering.Promise)
			load := underLoad(t, addr)
			c.ordered(t, "/reload")
			_, failed := load()
			assert.Empty(t, failed, "a reload loses nothing")
			survey(t, addr, 3)
			c.signal(t, syscall.SIGTERM)
			code, stderr := c.exit(t)
			assert.Zero(t, code, stderr)
			c.gone(t)
		})
	}
}

func TestSteeringThatIsNotToBeHad(t *testing.T) {
	names := []string{"nonsense"}
	if best := reuseport.Probe().Rung; best < reuseport.RungBPFMigrate {
		names = append(names, (best + 1).String())
	}
	for _, name := range names {
		assert.ErrorContains(t, refused(t, Options{Steering: name, Dir: ownDir(t)}), strconv.Quote(name))
	}
}

// TestPlannedStopLosesNoConnection: connected clients get an answer; others cannot connect.
func TestPlannedStopLosesNoConnection(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: true, LameDuck: shortDuck})
	addr := c.ready(t)
	lost, dial := make(chan error, 1000), net.Dialer{Timeout: 2 * time.Second}
	stop := make(chan struct{})
	clients := load(addr, 0, stop, nil)
	for range 4 {
		clients.Go(func() {
			for running(stop) {
				conn, err := dial.Dial("tcp", addr)
				if err != nil {
					return // the port is closed, or accepts no connections
				}
				if err := askOver(conn); err != nil {
					lost <- err
				}
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
			}
		})
	}
	for range 20 {
		_, err := get(addr, "/")
		require.NoError(t, err)
	}
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	close(stop)
	clients.Wait()
	close(lost)
	for err := range lost {
		require.NoError(t, err, "after the connect")
	}
	assert.Zero(t, code, stderr)
	c.gone(t)
}

// askOver sends one request over conn and reads all of the answer.
func askOver(conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	_, err := fetch(&client, "multinode", "/")
	return err
}
