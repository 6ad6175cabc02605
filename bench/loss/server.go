//go:build linux

package loss

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/reuseport"
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
	book, err := openLedger(s.Ledger) // mapped until the process ends
	if err != nil {
		return nil, err
	}
	pid := os.Getpid()
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		book.noteConn(conn, pid)
		return ctx
	}
	return server, nil
}

func (l *ledger) noteConn(conn net.Conn, pid int) {
	if client, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		l.note(client.Port, client.IP.To4() == nil, pid)
	}
}

// runServer is a node of a cluster.
func runServer() error {
	var s serve
	if err := child.Task(&s); err != nil {
		return err
	}
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
		fmt.Println("ready", node.Addr())
	}
	return node.Wait()
}

// runPrefork is what one writes without us: a process that shares the port, and ends by Shutdown when its standard input
// does. Shutdown closes the listener, and lets the requests finish that have been accepted.
func runPrefork() error {
	var s serve
	if err := child.Task(&s); err != nil {
		return err
	}
	server, err := s.httpServer()
	if err != nil {
		return err
	}
	l, err := reuseport.Listen(context.Background(), "tcp", s.Addr, reuseport.Options{})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // ends by Shutdown
	fmt.Println("ready", l.Addr())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// server is a cluster that runs.
type server struct {
	*child.Process // its master
	*control.Client
	serve serve
	addr  string
	dir   string // ours
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
func (c *server) startMaster() error {
	cmd, err := child.Command(context.Background(), serverRole, c.serve)
	if err != nil {
		return err
	}
	// What a hung node writes about its goroutines is for the log.
	log, err := os.OpenFile(c.serve.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	if c.Process, err = child.Start("server", cmd); err != nil {
		return err
	}
	if c.addr, err = c.Line(0, "ready "); err != nil {
		return errors.Join(err, errors.New(tail(c.serve.Log, 4000)), c.Process.Stop(os.Kill))
	}
	return nil
}

// end stops the cluster and returns an error if something is left of it.
func (c *server) end() error {
	err := c.Process.Stop(syscall.SIGTERM) // and not SIGINT, which a shell lets its background processes ignore
	left, globErr := filepath.Glob(filepath.Join(c.serve.Dir, "*"))
	err = errors.Join(err, globErr)
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left over in the directory: %v", left))
	}
	if err != nil {
		err = fmt.Errorf("%w\nthe end of its log:\n%s", err, tail(c.serve.Log, 8000))
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}

// addrs returns the addresses of the port for clients of IPv4 and IPv6.
func addrs(addr string) []string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return []string{addr}
	}
	return []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
}
