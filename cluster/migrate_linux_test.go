package cluster

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/internal/proctest"
	"github.com/multinode-go/multinode/reuseport"
)

// migrateVariable holds what net.ipv4.tcp_migrate_req is to be, in a process of the tests that has a network of its own.
const migrateVariable = "MULTINODE_TEST_MIGRATE"

// TestIntegrationMigration: what waits in the queue of a worker that crashes moves to another where the kernel is set to
// do it, and is lost where it is not.
func TestIntegrationMigration(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace of our own, to set net.ipv4.tcp_migrate_req in: run as root")
	}
	for _, c := range []struct{ migrate, sharing string }{{"0", "on"}, {"0", "off"}, {"1", "off"}} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestMigrationInside$", "-test.v")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		cmd.Env = append(os.Environ(), migrateVariable+"="+c.migrate, sharingVariable+"="+c.sharing)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%+v:\n%s", c, out)
		assert.Contains(t, string(out), "--- PASS: TestMigrationInside", "%+v", c)
	}
}

// TestMigrationInside runs in a network namespace, for TestIntegrationMigration.
func TestMigrationInside(t *testing.T) {
	migrate := os.Getenv(migrateVariable)
	if migrate == "" {
		t.Skip("TestIntegrationMigration runs it")
	}
	require.NoError(t, loopbackUp())
	require.NoError(t, os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte(migrate), 0))
	level := reuseport.RungBPFMigrate.String()
	if migrate == "0" {
		_, err := Listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Dir: ownDir(t), Steering: level}, new(http.Server))
		require.ErrorContains(t, err, `steering by "cbpf+migrate" is not available here: the best is "cbpf"`)
		level = ""
	}
	c := run(t, "http", programOptions{Nodes: 2, DisableMasterListen: true, Steering: level})
	addr := c.ready(t)
	victim := pidsOf(c.awaitStatus(t, isEven))[1]
	require.NoError(t, syscall.Kill(victim, syscall.SIGSTOP))
	require.Eventually(t, func() bool { return proctest.IsStopped(victim) }, patience, time.Millisecond) // it may be in accept(2)

	// All connect before the worker is a suspect, so that about half wait in its queue.
	const clients = 40
	var failed atomic.Int32
	var connected, answered sync.WaitGroup
	for range clients {
		connected.Add(1)
		answered.Go(func() {
			conn, err := net.DialTimeout("tcp", addr, patience)
			connected.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if !request(conn) {
				failed.Add(1)
			}
		})
	}
	connected.Wait()
	require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
	answered.Wait()
	if migrate == "1" || os.Getenv(sharingVariable) == "on" {
		assert.Zero(t, failed.Load(), "the other worker accepts them")
	} else {
		assert.Positive(t, failed.Load(), "they were in the queue of the killed worker")
		assert.Less(t, failed.Load(), int32(clients), "the other half were not")
	}
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && len(pidsOf(s)) == 2 })
}

// isEven reports whether two nodes get the same.
func isEven(s control.Status) bool {
	even := 0
	for _, n := range s.Nodes {
		if n.Weight == 50 {
			even++
		}
	}
	return even == 2
}

// request reports whether a request on conn is answered.
func request(conn net.Conn) bool {
	if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return false
	}
	answer := make([]byte, len("HTTP/1.0 200"))
	n, _ := conn.Read(answer)
	return string(answer[:n]) == "HTTP/1.0 200"
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
