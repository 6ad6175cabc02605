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
)

// serve is what a server process is told.
type serve struct {
	Addr            string
	Dir             string // empty: none
	Nodes           int
	MasterListens   bool
	Ledger          string
	Log             string // file
	LivenessTimeout time.Duration
}

// handler says who answers.
func handler() http.Handler {
	pid := strconv.Itoa(os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Worker", pid) })
}

// httpServer returns a server that notes in a ledger what it accepts.
func (s serve) httpServer() (*http.Server, error) {
	server := &http.Server{Handler: handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	if s.Ledger == "" {
		return server, nil
	}
	book, err := load.OpenLedger(s.Ledger) // mapped until the process ends
	if err != nil {
		return nil, err
	}
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		book.Note(conn)
		return ctx
	}
	return server, nil
}

// runServer is a node of a cluster.
func runServer(s serve) error {
	log, err := os.OpenFile(s.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	server, err := s.httpServer()
	if err != nil {
		return err
	}
	go tellGoroutines(filepath.Dir(s.Log))
	node, err := cluster.Listen(cluster.Options{
		Addr: s.Addr, Nodes: s.Nodes, DisableMasterListen: !s.MasterListens, Dir: s.Dir, Name: "loss",
		LivenessTimeout: s.LivenessTimeout, Logger: slog.New(slog.NewTextHandler(log, nil)).With("of", os.Getpid()),
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
	server, err := s.httpServer()
	if err != nil {
		return err
	}
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
func startServer(s serve) (_ *server, err error) {
	dir, err := os.MkdirTemp("", "loss")
	if err != nil {
		return nil, err
	}
	s.Dir, s.Log = filepath.Join(dir, "nodes"), filepath.Join(dir, "log")
	c := &server{serve: s, dir: dir, Client: control.NewClient(s.Dir)}
	if err := c.startMaster(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
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
		return errors.Join(err, errors.New(child.LogEnd(s.serve.Log, 4000)), s.Process.Stop(os.Kill))
	}
	s.master = s.PID()
	return nil
}

// end stops the cluster and returns an error if something is left of it.
func (s *server) end() error {
	if s.master != s.PID() {
		send(s.master, unix.SIGTERM)
		if !awaitGone(s.master, patience) {
			send(s.master, unix.SIGKILL)
			return fmt.Errorf("master %d did not end", s.master)
		}
	}
	err := s.Process.Stop(unix.SIGTERM) // and not SIGINT, which a shell lets its background processes ignore
	left, globErr := filepath.Glob(filepath.Join(s.serve.Dir, "*"))
	err = errors.Join(err, globErr)
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left over in the directory: %v", left))
	}
	if err != nil {
		err = fmt.Errorf("%w\nthe end of its log:\n%s", err, child.LogEnd(s.serve.Log, 8000))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
