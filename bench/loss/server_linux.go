package loss

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/bench/internal/proc"
	"github.com/multinode-go/multinode/bench/load"
	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
)

// Roles of this program, which is also all the processes that it starts.
const (
	partRole     = "loss part"
	serverRole   = "loss server"
	preforkRole  = "loss prefork"
	strangerRole = "loss stranger"
)

// Roles returns what this program runs in each of them. It takes those of package load, too.
func Roles() map[string]func() error {
	return map[string]func() error{
		partRole: child.Role(runPart), serverRole: child.Role(runServer), preforkRole: child.Role(runPrefork), strangerRole: child.Role(runStranger),
	}
}

const (
	// saidReady is what servers say, with their address.
	saidReady = "ready "
	patience  = child.Patience
	nodes     = 4 // that accept connections
)

// serve is what a server process is told.
type serve struct {
	Addr          string
	Dir           string // of the cluster
	MasterListens bool
	Ledger        string
	Log           string // file
}

// httpServer says who answers.
func httpServer() *http.Server {
	pid := strconv.Itoa(os.Getpid())
	return &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Worker", pid) }),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}

// runServer is a node of a cluster, which notes in a ledger what it accepts.
func runServer(s serve) error {
	log, err := os.OpenFile(s.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	server := httpServer()
	if s.Ledger != "" {
		book, err := load.OpenLedger(s.Ledger) // open until the process ends
		if err != nil {
			return err
		}
		server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
			book.Note(conn)
			return ctx
		}
	}
	go tellGoroutines(filepath.Dir(s.Log))
	node, err := cluster.Listen(cluster.Options{
		Addr: s.Addr, Nodes: nodes, DisableMasterListen: !s.MasterListens, Dir: s.Dir, Name: "loss",
		Logger: slog.New(slog.NewTextHandler(log, nil)).With("of", os.Getpid()),
	}, server)
	if err != nil {
		return err
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Println(saidReady + node.Addr().String())
	}
	return node.Wait()
}

// runPrefork is what one writes without us: a process that shares the port, and ends by Shutdown when its standard input
// does. Shutdown closes the listener, and lets the requests finish that have been accepted.
func runPrefork(s serve) error {
	server := httpServer()
	return s.share(server.Serve, func(net.Listener) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return server.Shutdown(ctx)
	})
}

// runStranger is a process of the same user that shares the port and is no node: it takes what comes, and closes it
// without an answer. It ends when its standard input does.
func runStranger(s serve) error {
	book, err := load.OpenLedger(s.Ledger)
	if err != nil {
		return err
	}
	takeAll := func(l net.Listener) error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			book.Note(conn)
			_ = conn.Close() // to its client it is all the same how
		}
	}
	return s.share(takeAll, net.Listener.Close)
}

// share takes part in the port, until standard input ends.
func (s serve) share(accept, end func(net.Listener) error) error {
	l, err := reuseport.Listen(context.Background(), "tcp", s.Addr, reuseport.Options{})
	if err != nil {
		return err
	}
	fmt.Println(saidReady + l.Addr().String())
	return child.Serve(func() error { return accept(l) }, func() error { return end(l) })
}

// server is a cluster that runs.
type server struct {
	*child.Process // its first master, or one that was started after a kill
	*control.Client
	master int // the process that is master now
	serve  serve
	addr   string
	dir    string // ours
}

// startServer starts a cluster and returns when it is ready.
func startServer(how serve) (*server, error) {
	dir, err := os.MkdirTemp("", "loss")
	if err != nil {
		return nil, err
	}
	how.Addr, how.Dir, how.Log = ":0", filepath.Join(dir, "nodes"), filepath.Join(dir, "log")
	s := &server{serve: how, dir: dir, Client: control.NewClient(how.Dir)}
	if err := s.startMaster(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// startMaster starts a master, also after one that was killed.
func (s *server) startMaster() error {
	cmd, err := child.Command(context.Background(), serverRole, s.serve)
	if err != nil {
		return err
	}
	// What a hung node writes about its goroutines is for the log.
	if s.Process, err = child.StartLogged("server", cmd, s.serve.Log); err != nil {
		return err
	}
	if s.addr, err = s.Line(0, saidReady); err != nil {
		return errors.Join(err, errors.New(s.log(4000)), s.Process.Stop(os.Kill))
	}
	s.master = s.PID()
	return nil
}

// log returns the end of what the nodes have logged.
func (s *server) log(size int) string {
	return "the end of the log of the nodes:\n" + child.LogEnd(s.serve.Log, size)
}

// end stops the cluster and returns an error if something is left of it.
func (s *server) end() error {
	send(s.master, unix.SIGTERM) // and not SIGINT, which a shell lets its background processes ignore
	if !awaitGone(s.master, patience) {
		send(s.master, unix.SIGKILL)
		return fmt.Errorf("master %d did not end", s.master)
	}
	err := s.Wait()
	left, globErr := filepath.Glob(filepath.Join(s.serve.Dir, "*"))
	err = errors.Join(err, globErr)
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left over in the directory: %v", left))
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, s.log(8000))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// ready returns the nodes that serve.
func (s *server) ready(ctx context.Context) (all []control.NodeStatus, status control.Status, err error) {
	status, err = s.Status(ctx)
	for _, n := range status.Nodes {
		if isReady(n) {
			all = append(all, n)
		}
	}
	return all, status, err
}

// isReady tells whether a node serves.
func isReady(n control.NodeStatus) bool { return n.State == control.StateReady && n.Accepts }

// send sends a signal to a process that may be gone.
func send(pid int, sig unix.Signal) { _ = unix.Kill(pid, sig) }

// isGone tells whether a process has ended, reaped or not. Its first thread is a zombie while others still end, and the
// listeners are open as long.
func isGone(pid int) bool {
	s, err := proc.Stat(pid)
	return err != nil && (!errors.Is(err, os.ErrProcessDone) || s.NumThreads <= 1)
}

// awaitGone returns false when the process lives on.
func awaitGone(pid int, within time.Duration) bool {
	return eventually(context.Background(), within, func() (string, error) {
		if isGone(pid) {
			return "", nil
		}
		return "it lives on", nil
	}) == nil
}
