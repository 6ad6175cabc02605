package cost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/cluster"
)

// Roles of this program, which is also the servers and the load.
const (
	plainRole   = "cost plain"
	clusterRole = "cost cluster"
	shopperRole = "cost shopper"
	playerRole  = "cost player"
)

// Roles returns what this program runs in each of them.
func Roles() map[string]func() error {
	return map[string]func() error{
		plainRole: servePlain, clusterRole: serveCluster, shopperRole: runShopper, playerRole: runPlayer,
	}
}

const patience = child.Patience

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
	var nodes int
	if err := child.Task(&nodes); err != nil {
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

// awaitText reads what a process prints, up to a line that holds text.
func awaitText(p *child.Process, text string) (line string, err error) {
	for err == nil && !strings.Contains(line, text) {
		line, err = p.Line(0, "")
	}
	return line, err
}

// server is one of our processes that serves.
type server struct {
	*child.Process
	addr string
}

// startServer starts a server and returns when it is ready.
func startServer(role string, nodes int) (*server, error) {
	p, err := child.Run(role, nodes)
	if err != nil {
		return nil, err
	}
	s := &server{Process: p}
	if s.addr, err = s.Line(0, "ready "); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// stop ends the server as a service manager does.
func (s *server) stop() error {
	err := s.Stop(syscall.SIGTERM) // SIGINT may be ignored in the background of a shell
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil // the plain one dies of the signal
	}
	return err
}

// processes returns the pids of the server, the workers after the master.
func (s *server) processes() []int {
	return append([]int{s.PID()}, proc.PIDs(proc.Find(func(p procfs.ProcStat) bool { return p.PPID == s.PID() }))...)
}

// cpu returns the CPU time that all processes of the server have used.
func (s *server) cpu() time.Duration { return proc.CPU(s.processes()...) }
