package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

func init() {
	programs["supervise"] = superviseProgram
	programs["foreign"] = foreignProgram
}

// superviseProgram is the master of another program, which MULTINODE_TEST_SUPERVISED names.
func superviseProgram() error {
	opts, _ := options()
	if os.Getenv("MULTINODE_TEST_BLINDFOLD") != "" {
		if err := blindfold(); err != nil {
			return err
		}
	}
	if err := os.Setenv(programVariable, os.Getenv("MULTINODE_TEST_SUPERVISED")); err != nil {
		return err
	}
	n, err := Supervise(opts, Command{Path: os.Args[0], Output: os.Stdout})
	if err != nil {
		return err
	}
	if n.WaitReady(context.Background()) == nil {
		fmt.Println("ready", n.Status().Address)
	}
	return n.Wait()
}

// tardy is a listener of a program that takes its time with what it has accepted.
type tardy struct{ net.Listener }

// Accept takes a connection out of the queue a while before the server knows it.
func (l tardy) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		time.Sleep(80 * time.Millisecond)
	}
	return conn, err
}

// foreignProgram shares a port by itself, and knows nothing of clusters.
func foreignProgram() error {
	l, err := reuseport.Listen(context.Background(), "tcp", os.Getenv("MULTINODE_TEST_PORT"), reuseport.Options{})
	if err != nil {
		return err
	}
	fmt.Println("foreign", os.Getpid())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(answer{PID: os.Getpid()})
	})}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() {
		<-stop
		ended <- server.Shutdown(context.Background())
	}()
	if err := server.Serve(tardy{l}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// freePort holds a port of the loopback interface until the end of the test.
func freePort(t *testing.T) string {
	t.Helper()
	r, err := reuseport.Reserve(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r.Addr().String()
}

// TestSuperviseAForeignProgram takes a program through reload and scale that does not talk to us, without losing a
// connection.
func TestSuperviseAForeignProgram(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	c := run(t, "supervise", programOptions{Nodes: 3}, "MULTINODE_TEST_SUPERVISED=foreign", "MULTINODE_TEST_PORT="+addr)
	assert.Equal(t, addr, c.ready(t), "its port was found out")
	for slot := range 3 {
		c.printed(t, fmt.Sprintf("slot %d | foreign", slot+1), 1)
	}

	end := underLoad(t, addr)
	before := pidsOf(c.status(t))
	c.ordered(t, "/reload")
	after := pidsOf(c.status(t))
	c.ordered(t, "/scale?nodes=5")
	assert.Len(t, pidsOf(c.status(t)), 5)
	c.ordered(t, "/scale?nodes=2")
	requests, failed := end()
	assert.Empty(t, failed, "of %d", requests)
	assert.Len(t, after, 3)
	for slot, pid := range after {
		assert.NotEqual(t, before[slot], pid, "slot %d", slot)
	}
	c.neverTold(t, control.EventStranger)

	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	c.gone(t)
}

// TestSuperviseAProgramOfOurs: its Listen finds that it is a worker.
func TestSuperviseAProgramOfOurs(t *testing.T) {
	t.Parallel()
	c := run(t, "supervise", programOptions{Nodes: 2, Addr: "127.0.0.1:0"}, "MULTINODE_TEST_SUPERVISED=http")
	addr := c.ready(t)
	for slot, a := range survey(t, addr, 2) {
		assert.Equal(t, slot, a.ID)
		assert.False(t, a.Master)
	}
	c.ordered(t, "/reload")
	for _, a := range survey(t, addr, 2) {
		assert.Equal(t, 2, a.Generation)
	}
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
}

func TestSuperviseAProgramThatIsNotThere(t *testing.T) {
	_, err := Supervise(Options{Dir: ownDir(t)}, Command{Path: "./no-such-program"})
	require.ErrorContains(t, err, "the program to run")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// blindfold makes pidfd_getfd(2) fail in this process and in its children, as it does in many containers.
func blindfold() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call, see seccomp(2)
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PIDFD_GETFD, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // until the filter is there, which is for all threads
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// TestSuperviseWithoutBorrowing: where the listeners of a program may not be steered, the log says so once, and the status
// promises nothing.
func TestSuperviseWithoutBorrowing(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	c := run(t, "supervise", programOptions{Nodes: 2}, "MULTINODE_TEST_SUPERVISED=foreign", "MULTINODE_TEST_PORT="+addr,
		"MULTINODE_TEST_BLINDFOLD=1")
	assert.Equal(t, addr, c.ready(t))
	for range 2 {
		s := c.status(t).Steering
		assert.Equal(t, reuseport.RungHash.String(), s.Level)
		assert.NotContains(t, s.Promise, "loses no connection")
		assert.Contains(t, s.Promise, "--cap-add SYS_PTRACE")
		assert.Empty(t, s.Advice, "nothing of the kernel would help")
		c.ordered(t, "/reload")
	}
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	assert.Len(t, c.recorded(func(r record) bool { return r.Level == "WARN" && r.Address == addr && r.Reason != "" }), 1)
}
