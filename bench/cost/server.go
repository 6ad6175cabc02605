package cost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster"
)

// This program is also the servers and the load: roleVariable says which.
const (
	roleVariable  = "MULTINODE_BENCH_ROLE"
	nodesVariable = "MULTINODE_BENCH_NODES"
)

var roles = map[string]func() error{
	"plain": servePlain, "cluster": serveCluster, "load": runLoad, "shop": runShop, "player": runPlayer, "joiner": runJoiner,
}

func handler() http.Handler {
	body := []byte("hello\n")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(body) // a client that has gone needs no answer
	})
}

// servePlain is the baseline: what one writes without us.
func servePlain() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready", l.Addr())
	return http.Serve(l, handler())
}

// serveCluster serves the same from some nodes.
func serveCluster() error {
	nodes, err := strconv.Atoi(os.Getenv(nodesVariable))
	if err != nil {
		return err
	}
	// What happens to a worker is told on standard output, for the parent to time.
	logger := slog.New(slog.NewTextHandler(os.Stdout, nil))
	node, err := cluster.Listen(cluster.Options{Addr: "127.0.0.1:0", Nodes: nodes, Logger: logger}, &http.Server{Handler: handler()})
	if err != nil {
		return err
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Println("ready", node.Addr())
	}
	return node.Wait()
}

// server is one of our processes that serves.
type server struct {
	cmd  *exec.Cmd
	out  *bufio.Scanner
	addr string
}

// startServer starts a server and returns when it is ready.
func startServer(role string, nodes int) (*server, error) {
	cmd, out, err := start(role, nodesVariable+"="+strconv.Itoa(nodes))
	if err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, out: bufio.NewScanner(out)}
	line, err := s.await("ready ")
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.addr = strings.TrimPrefix(line, "ready ")
	return s, nil
}

func start(role string, environ ...string) (*exec.Cmd, io.ReadCloser, error) {
	cmd, err := command(role, environ...)
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, out, cmd.Start()
}

// command is this program in another role.
func command(role string, environ ...string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), program)
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), environ...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// await reads what the server prints, up to a line that holds text.
func (s *server) await(text string) (string, error) {
	for s.out.Scan() {
		if strings.Contains(s.out.Text(), text) {
			return s.out.Text(), nil
		}
	}
	return "", fmt.Errorf("the server has ended before it said %q", text)
}

// stop ends the server as a service manager does.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil { // SIGINT may be ignored in the background of a shell
		return err
	}
	for s.out.Scan() { // or it would block
	}
	_ = s.cmd.Wait() // the plain one dies of the signal
	return nil
}

// processes returns the pids of the server, the workers after the master.
func (s *server) processes() ([]int, error) {
	pids := []int{s.cmd.Process.Pid}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	if err != nil {
		return nil, err
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// cpu returns the CPU time that all processes of the server have used.
func (s *server) cpu() (time.Duration, error) {
	pids, err := s.processes()
	if err != nil {
		return 0, err
	}
	return cpuOf(pids)
}

// cpuOf returns the CPU time that processes have used: the first field of each thread's schedstat, in nanoseconds.
func cpuOf(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if err != nil {
				continue // the thread has ended
			}
			used, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", thread, err)
			}
			total += time.Duration(used)
		}
	}
	return total, nil
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmRSS", pid)
}
