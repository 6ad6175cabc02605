//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/internal/leaktest"
)

// The test binary is also the program that the tests run as a cluster: programVariable names which one.
const (
	programVariable = "MULTINODE_TEST_PROGRAM"
	optionsVariable = "MULTINODE_TEST_OPTIONS"
)

func TestMain(m *testing.M) {
	program, ok := programs[os.Getenv(programVariable)]
	if !ok {
		// Under nohup the programs would inherit that SIGHUP is ignored; of a signal that is caught they inherit the default.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		os.Exit(leaktest.Run(m))
	}
	if err := program(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var programs = map[string]func() error{
	"http":         serveHTTP,
	"panic":        panicInWorker,
	"exit":         exitInWorker,
	"refuse":       serveReturns,
	"hang":         hangInWorker,
	"short":        shortLife,
	"warm":         warmUp,
	"own loop":     ownLoop,
	"more ports":   morePorts,
	"stubborn":     stubborn,
	"nested":       nested,
	"listen twice": listenTwice,
	"ordinary":     ordinary,
	"stuck":        getStuck,
	"join":         joinPort,
	"usurp":        usurp,
	"flap":         flap,
	"talk":         talk,
	"errors":       tellApart,
	"start":        startThenServe,
	"own hangup":   ownHangup,
	"own signals":  ownSignals,
	"no pid file":  noPIDFile,

	"gated replacements": gatedReplacements,
	"gated successor":    gatedSuccessor,

	"impatient successor": impatientSuccessor,
}

// programOptions are the Options of a program, as its environment carries them.
type programOptions struct {
	Addr, Name, Dir                         string
	Nodes                                   int
	DisableMasterListen, DisableRestart     bool
	ShareQueues                             bool
	BootTimeout, StopTimeout, OrphanTimeout time.Duration
	LivenessTimeout, LameDuck               time.Duration
	AcceptPauses                            bool
	Steering                                string
	Life                                    time.Duration // of a worker of the program "short"
}

func options() (opts Options, p programOptions) {
	if err := json.Unmarshal([]byte(os.Getenv(optionsVariable)), &p); err != nil {
		panic(err)
	}
	return Options{
		Addr: p.Addr, Name: p.Name, Dir: p.Dir, Nodes: p.Nodes,
		DisableMasterListen: p.DisableMasterListen, DisableRestart: p.DisableRestart, ShareQueues: p.ShareQueues,
		BootTimeout: p.BootTimeout, StopTimeout: p.StopTimeout, OrphanTimeout: p.OrphanTimeout,
		LivenessTimeout: p.LivenessTimeout, LameDuck: p.LameDuck, AcceptPauses: p.AcceptPauses, Steering: p.Steering,
		Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	}, p
}

// answer is the description of a node by itself.
type answer struct {
	PID, ID, Slot, Generation, Procs int
	Master                           bool
	Addr                             string
}

func handlerOf(told <-chan *Node) http.Handler {
	node := make(chan *Node, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.FormValue("sleep")); err == nil {
			fmt.Println("sleeping", d)
			time.Sleep(d)
		}
		var n *Node
		select {
		case n = <-node:
		case n = <-told:
		}
		node <- n
		_ = json.NewEncoder(w).Encode(answer{
			PID: os.Getpid(), ID: n.ID(), Slot: n.Slot(), Generation: n.Generation(), Procs: runtime.GOMAXPROCS(0),
			Master: n.IsMaster(), Addr: n.Addr().String(),
		})
	})
	return mux
}

// serveHTTP is the ordinary program.
func serveHTTP() error {
	opts, _ := options()
	return serveWith(opts)
}

func serveWith(opts Options) error {
	told := make(chan *Node, 1)
	n, err := Listen(opts, &http.Server{Handler: handlerOf(told)})
	if err != nil {
		return err
	}
	told <- n
	return waitTelling(n)
}

// waitTelling waits for the end of n; a master says when all are ready, and where.
func waitTelling(n *Node) error {
	if n.IsMaster() && n.WaitReady(context.Background()) == nil {
		fmt.Println("ready", n.Addr())
	}
	return n.Wait()
}

// isStartedAsWorker tells, also before Listen, whether this process is a worker.
func isStartedAsWorker() bool {
	role, _ := boot.InheritedRole()
	return role != nil
}

// isStartedAsSuccessor tells, also before Listen, whether this process is to take over.
func isStartedAsSuccessor() bool {
	handover, _ := boot.InheritedHandover()
	return handover != nil
}

func panicInWorker() error {
	if isStartedAsWorker() {
		panic("the worker cannot go on")
	}
	return serveHTTP()
}

// exitInWorker stands for an os.Exit in an init: it happens before anything of ours.
func exitInWorker() error {
	if isStartedAsWorker() {
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	}
	return serveHTTP()
}

func hangInWorker() error {
	if isStartedAsWorker() {
		select {}
	}
	return serveHTTP()
}

// deafServer returns at once in a worker.
type deafServer struct{ *http.Server }

func (s deafServer) Serve(l net.Listener) error {
	if isStartedAsWorker() {
		return errors.New("this server is deaf")
	}
	return s.Server.Serve(l)
}

func serveReturns() error {
	opts, _ := options()
	n, err := Listen(opts, deafServer{new(http.Server)})
	if err != nil {
		return err
	}
	if !n.IsMaster() {
		_ = n.Wait()
		return nil // says nothing by itself
	}
	return waitTelling(n)
}

// shortLife makes the worker in slot 1 die some time after it was ready.
func shortLife() error {
	opts, p := options()
	told := make(chan *Node, 1)
	n, err := Listen(opts, &http.Server{Handler: handlerOf(told)})
	if err != nil {
		return err
	}
	told <- n
	if n.Slot() == 1 {
		if err := n.WaitReady(context.Background()); err != nil {
			return err
		}
		time.Sleep(p.Life)
		os.Exit(7)
	}
	return waitTelling(n)
}

// warmUp becomes ready by its own word.
func warmUp() error {
	opts, _ := options()
	opts.ManualReady = true
	told := make(chan *Node, 1)
	n, err := Listen(opts, &http.Server{Handler: handlerOf(told)})
	if err != nil {
		return err
	}
	told <- n
	time.Sleep(300 * time.Millisecond)
	n.Ready()
	n.Ready() // twice does no harm
	return waitTelling(n)
}

// ownLoop serves the listener by itself.
func ownLoop() error {
	opts, _ := options()
	n, err := Listen(opts, nil)
	if err != nil {
		return err
	}
	told := make(chan *Node, 1)
	told <- n
	server := &http.Server{Handler: handlerOf(told)}
	go server.Serve(n.Listener())
	return waitTelling(n)
}

// morePorts serves on three ports, of which two are free, and asks for a port in use.
func morePorts() error {
	opts, _ := options()
	told := make(chan *Node, 1)
	handler := handlerOf(told)
	n, err := Listen(opts, &http.Server{Handler: handler})
	if err != nil {
		return err
	}
	told <- n
	for range 2 {
		l, err := n.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if n.IsMaster() {
			fmt.Println("more", l.Addr())
		}
		go http.Serve(l, handler)
	}
	_, err = n.Listen(context.Background(), "tcp", os.Getenv("MULTINODE_TEST_TAKEN"))
	fmt.Println("taken", errors.Is(err, errInUse), err)
	return waitTelling(n)
}

// stubborn has workers that ignore an order to stop.
func stubborn() error {
	opts, _ := options()
	var server Server = new(http.Server)
	if isStartedAsWorker() {
		server = stubbornServer{new(http.Server)}
	}
	n, err := Listen(opts, server)
	if err != nil {
		return err
	}
	return waitTelling(n)
}

type stubbornServer struct{ *http.Server }

func (stubbornServer) Shutdown(context.Context) error { select {} }

// nested starts itself again in each worker: that must be a cluster of its own.
func nested() error {
	opts, _ := options()
	if os.Getenv("MULTINODE_TEST_NESTED") != "" {
		opts.Addr, opts.Nodes, opts.Dir = "127.0.0.1:0", 1, opts.Dir+"-nested"
		n, err := Listen(opts, new(http.Server))
		if err != nil {
			return err
		}
		fmt.Println("nested", n.IsMaster(), n.ID(), os.Getenv("MULTINODE_ROLE") == "")
		return n.Shutdown(context.Background())
	}
	n, err := Listen(opts, new(http.Server))
	if err != nil {
		return err
	}
	if !n.IsMaster() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MULTINODE_TEST_NESTED=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return waitTelling(n)
}

func listenTwice() error {
	opts, _ := options()
	n, err := Listen(opts, new(http.Server))
	if err != nil {
		return err
	}
	if !n.IsMaster() {
		_, err := Listen(opts, new(http.Server))
		fmt.Println("twice", err)
	}
	return waitTelling(n)
}

// ordinary is a server that knows nothing of clusters.
func ordinary() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, http.NotFoundHandler())
}
