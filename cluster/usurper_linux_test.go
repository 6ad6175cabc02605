package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// usurp is a program that shares a port and replaces the program that steers it, so that it gets all new connections.
func usurp() error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	addr := os.Getenv("MULTINODE_TEST_PORT")
	l, err := reuseport.Listen(context.Background(), "tcp", addr, reuseport.Options{})
	if err != nil {
		return err
	}
	if os.Getenv("MULTINODE_TEST_AT_ONCE") != "" {
		return usurpAtOnce(l, addr)
	}
	came := make(chan struct{}, 1)
	go func() { // ends with the process
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case came <- struct{}{}:
			default:
			}
			go func() {
				buf := make([]byte, 4096)
				if n, _ := conn.Read(buf); n > 0 {
					fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\n{\"Slot\":-1}")
				}
				conn.Close()
			}()
		}
	}()
	fmt.Println("joined", l.Addr())
	if os.Getenv("MULTINODE_TEST_SIGNAL") != "" {
		<-signals
	}
	for index := -1; ; time.Sleep(5 * time.Millisecond) {
		index = findOwn(l, addr, index, came)
		if index >= 0 && os.Getenv("MULTINODE_TEST_SIGNAL") != "" {
			<-signals
		}
	}
}

// usurpAtOnce steers all connections to the last index, which is its own, and closes each connection.
func usurpAtOnce(l *net.TCPListener, addr string) error {
	all, err := reuseport.Listeners(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	weights := append(make([]uint32, len(all)-1), 1)
	if err := reuseport.Attach(l, reuseport.Steering{Weights: weights}); err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		conn.Close()
	}
}

// findOwn steers all connections to an index, or to one after the other, and returns our own index.
func findOwn(l *net.TCPListener, addr string, last int, came chan struct{}) int {
	all, err := reuseport.Listeners(context.Background(), "tcp", addr)
	if err != nil {
		return -1
	}
	indexes := []int{last}
	if last < 0 || last >= len(all) {
		indexes = nil
		for i := range all {
			indexes = append(indexes, i)
		}
	}
	for _, i := range indexes {
		weights := make([]uint32, i+1)
		weights[i] = 1
		select {
		case <-came:
		default:
		}
		if reuseport.Attach(l, reuseport.Steering{Weights: weights}) != nil {
			return -1
		}
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return -1
		}
		select {
		case <-came:
			conn.Close()
			return i
		case <-time.After(50 * time.Millisecond):
			conn.Close()
		}
	}
	return -1
}

// flap is a program that joins a port and leaves it, again and again.
func flap() error {
	for {
		l, err := reuseport.Listen(context.Background(), "tcp", os.Getenv("MULTINODE_TEST_PORT"), reuseport.Options{})
		if err != nil {
			return err
		}
		time.Sleep(6 * time.Millisecond)
		if err := l.Close(); err != nil {
			return err
		}
		time.Sleep(6 * time.Millisecond)
	}
}

// letRun starts a stranger that is another program of this binary.
func letRun(t *testing.T, program, addr string, environ ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), programVariable+"="+program, "MULTINODE_TEST_PORT="+addr), environ...)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// shareOfStrangers returns how many of so many requests a stranger answers.
func shareOfStrangers(addr string, requests int) (strange int) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for range requests {
		if a, err := fetch(client, addr, "/"); err != nil || a.Slot == -1 {
			strange++
		}
	}
	return strange
}

// TestUsurper: a stranger of our user replaces the program that steers, again and again. Status must not say what does not
// hold, and when it stops, all is as before.
func TestUsurper(t *testing.T) {
	needSteering(t)
	t.Parallel()
	for _, supervises := range []bool{false, true} {
		t.Run(fmt.Sprintf("supervises=%v", supervises), func(t *testing.T) {
			t.Parallel()
			c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: supervises})
			addr := c.ready(t)
			c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known })
			other := letRun(t, "usurp", addr)
			s := c.awaitStatus(t, func(s control.Status) bool {
				return s.Steering.Contested && slices.ContainsFunc(s.Steering.Strangers, isUsurper)
			})
			assert.False(t, s.Steering.Known)
			assert.Equal(t, other.Process.Pid, s.Steering.Strangers[0].PID)
			assert.NotEmpty(t, s.Steering.Strangers[0].Program)
			assert.Contains(t, s.Steering.Promise, "Nothing")
			for _, n := range s.Nodes {
				assert.Zero(t, n.Weight, "who gets what is not known")
			}
			assert.Equal(t, other.Process.Pid, c.events.await(t, 1, isUsurpation).PID)

			require.NoError(t, other.Process.Kill())
			c.awaitStatus(t, func(s control.Status) bool {
				return !s.Steering.Contested && s.Steering.Known && len(s.Steering.Strangers) == 0
			})
			c.told(t, control.EventMended, 1)
			assert.Zero(t, shareOfStrangers(addr, 50))
			survey(t, addr, 3)
			reports := c.toldSoFar(t, isUsurpation)
			require.Len(t, reports, 1, "it is reported once")
			assert.Contains(t, reports[0].Text, fmt.Sprintf("process %d", other.Process.Pid))
			for _, e := range c.events.find(isOf(control.EventStranger)) {
				assert.False(t, strings.HasSuffix(e.Text, "it gets no connections"), e.Text)
			}
		})
	}
}

func isUsurper(s control.Stranger) bool { return s.Steers }

// isUsurpation reports whether an event is about a stranger that steers.
func isUsurpation(e control.Event) bool {
	return e.Kind == control.EventStranger && strings.Contains(e.Text, "has replaced the program that steers")
}

// TestUsurperOnce: a stranger that attaches a program once is detected, and gets no connections afterwards.
func TestUsurperOnce(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3})
	addr := c.ready(t)
	other := letRun(t, "usurp", addr, "MULTINODE_TEST_SIGNAL=1")
	c.awaitStatus(t, func(s control.Status) bool { return len(s.Steering.Strangers) == 1 && s.Steering.Known })
	require.Eventually(t, func() bool { // not while our own program changes, which wipes the other
		require.NoError(t, other.Process.Signal(syscall.SIGUSR1))
		time.Sleep(time.Second)
		return len(c.events.find(isUsurpation)) > 0
	}, patience, time.Second)
	assert.Equal(t, other.Process.Pid, c.events.await(t, 1, isUsurpation).PID)
	c.told(t, control.EventMended, 1)
	s := c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known })
	require.Len(t, s.Steering.Strangers, 1)
	assert.True(t, s.Steering.Strangers[0].Steers)
	assert.Zero(t, shareOfStrangers(addr, 50))
}

// TestUsurperAtOnce: a stranger that replaces the program before it was seen, once, and closes each connection at once, is detected,
// by whatever name it is known then, before its traces are wiped.
func TestUsurperAtOnce(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, DisableMasterListen: true})
	addr := c.ready(t)
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known })
	isReportOf := func(pid int) func(control.Event) bool {
		return func(e control.Event) bool { return isUsurpation(e) && e.PID == pid }
	}
	isReported := false
	for tries := 0; !isReported; tries++ {
		require.Less(t, tries, 20)
		other := letRun(t, "usurp", addr, "MULTINODE_TEST_AT_ONCE=1")
		for looks := 0; looks < 100 && !isReported; looks++ { // without a CPU for the test, some more seconds
			time.Sleep(50 * time.Millisecond)
			isReported = len(c.events.find(isReportOf(other.Process.Pid))) > 0
		}
		// If it is not reported, the master saw a new listener, and attached its weights, before it looked for another program.
		require.NoError(t, other.Process.Kill())
	}
	second := letRun(t, "usurp", addr) // whether or not the first one is forgotten
	c.events.await(t, 1, isReportOf(second.Process.Pid))
	require.NoError(t, second.Process.Kill())
	c.awaitStatus(t, func(s control.Status) bool { return s.Steering.Known && len(s.Steering.Strangers) == 0 })
	c.told(t, control.EventMended, 1)
	assert.Zero(t, shareOfStrangers(addr, 50))
}

// TestFlappingStranger: a stranger that joins and leaves faster than the master looks is reported.
func TestFlappingStranger(t *testing.T) {
	needSteering(t)
	t.Parallel()
	c := run(t, "http", programOptions{Nodes: 3, LameDuck: shortDuck})
	addr := c.ready(t)
	other := letRun(t, "flap", addr)
	s := c.awaitStatus(t, func(s control.Status) bool {
		return slices.ContainsFunc(s.Steering.Strangers, func(o control.Stranger) bool { return o.PID == other.Process.Pid && o.Joins >= 3 })
	})
	isReport := func(e control.Event) bool {
		return e.Kind == control.EventStranger && strings.Contains(e.Text, "stops again and again") && e.PID == other.Process.Pid
	}
	c.events.await(t, 1, isReport)
	assert.Equal(t, strings.TrimSuffix(s.Steering.Strangers[0].Address, "\n"), addr)
	c.ordered(t, "/reload") // it delays no order
	assert.Len(t, c.toldSoFar(t, isReport), 1, "it is reported once")
	require.NoError(t, syscall.Kill(other.Process.Pid, syscall.SIGKILL))
	c.awaitStatus(t, func(s control.Status) bool { return len(s.Steering.Strangers) == 0 && s.Steering.Known })
}
