package cluster

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/lifecycle"
	"github.com/multinode-go/multinode/cluster/internal/master"
	"github.com/multinode-go/multinode/cluster/internal/node"
	"github.com/multinode-go/multinode/cluster/internal/serve"
	"github.com/multinode-go/multinode/cluster/internal/worker"
	"github.com/multinode-go/multinode/reuseport"
)

// maxNodes bounds Options.Nodes, so that a slip of the keyboard is not a fork bomb.
const maxNodes = lifecycle.MaxNodes

// Options says how the cluster is run. The zero value works. All nodes run the same program and are expected to come
// to the same Options; Addr, Nodes, Name and Dir count in the master only.
type Options struct {
	// Addr is the TCP address to share, as in net.Listen. Default: ":http"; to Listen, the Addr of an *http.Server, or
	// ":https" for a TLSServer. Port 0 is one free port for all nodes.
	Addr string

	// Nodes is how many processes accept connections, the master included unless DisableMasterListen is set.
	// Default: runtime.GOMAXPROCS(0), which knows the CPU limit of a container. 1 starts no worker.
	//
	// The GOMAXPROCS of each is its share of that of the master, rounded up, unless the environment or the program
	// has set it: processes that use all CPUs each would slow one another down.
	Nodes int

	// DisableMasterListen makes the master only supervise; Nodes is then the number of workers. Most services want it: the crash
	// of such a master loses nothing, as the workers serve until a new master adopts them. A master that accepts loses its
	// connections when it crashes, as a worker does, and nothing in the cluster replaces it.
	DisableMasterListen bool

	// DisableRestart leaves the slot of a worker that died empty.
	DisableRestart bool

	// ShareQueues lets nodes accept connections from each other's queues: what waits for a node that is stopped, busy or dead is
	// accepted by another one, so a crash loses only the connections that the node had accepted. No connection is passed. See
	// docs/balancing.md. The environment variable MULTINODE_SHARING does the same with "on"; "off" overrides this option, and
	// "polling" shares as on a machine where the best way does not work, see [reuseport.ProbeWatch]. Programs that
	// are run by [Supervise] and do not use this package share nothing.
	ShareQueues bool

	// ManualReady makes a worker ready only when the program has called Node.Ready, for programs that warm up.
	ManualReady bool

	// Name names the cluster. One name runs once at a time. Default: the name of the program and the port.
	Name string

	// Dir is the rendezvous directory, where the nodes publish their Unix sockets; made if it does not exist, else it must be
	// ours with mode 0700. Default: NAME in $XDG_RUNTIME_DIR/multinode, or in the directory for temporary files.
	Dir string

	// Logger logs what happens to the nodes. Default: slog.Default(). slog.DiscardHandler makes it silent.
	Logger *slog.Logger

	// Steering forces a level of steering: "hash", "incoming-cpu", "cbpf" or "cbpf+migrate"; see [control.Steering]. A level that
	// this machine does not support is an error. Default: the best level of this machine.
	Steering string

	// AcceptPauses says that the server may stop accepting for longer than LivenessTimeout, as behind a full netutil.LimitListener.
	// Then only the process has to answer, and a stuck accept loop is not found.
	AcceptPauses bool

	// LivenessTimeout is how long a worker that is ready may fail to answer, before it is ended and replaced. Its accept
	// loop is probed 20 times in this time; after a tenth of it the worker is suspect and gets no new connections, where
	// they can be steered. Time in which it waits for a CPU does not count. Default: 5 s.
	LivenessTimeout time.Duration

	// BootTimeout is how long a worker may take from its start until it is ready. Default: 60 s.
	BootTimeout time.Duration

	// StopTimeout is how long requests in flight, and connections that the program has accepted by itself, may take to
	// end when a node stops. Default: 30 s.
	StopTimeout time.Duration

	// LameDuck is how long idle connections stay open when a node drains, before the Shutdown of their server, so that each
	// client can send one more request and learn from its response that the connection ends. It ends earlier when no connection
	// is open. It is a part of StopTimeout, and 1 s at most when the whole cluster stops. Programs that serve a listener by
	// themselves decide it themselves. Default: 5 s.
	LameDuck time.Duration

	// HijackTimeout is how long handlers that have hijacked their connection, such as WebSocket handlers, may continue
	// after Node.Draining is done, before their connections are closed. It is a part of StopTimeout, too. Default:
	// StopTimeout.
	HijackTimeout time.Duration

	// LeaveSignals are signals that the node does not handle, in master and workers, such as SIGHUP for a program that reloads
	// its configuration on it. [Listen] lists the signals that a node handles otherwise, and their effects. Default: none.
	LeaveSignals []os.Signal

	// DisableSignals makes the node handle no signals. The program then has to call Node.Shutdown itself when it is to stop, in
	// master and workers alike: SIGTERM and SIGINT have their default effect, which ends the process with all its requests.
	// Default: false.
	DisableSignals bool

	// PIDFile is the file in which the master leaves its process id while it runs. Default: none.
	PIDFile string

	// OrphanTimeout is how long a worker continues to serve when its master is gone, before it stops gracefully. Default: 30 s.
	OrphanTimeout time.Duration

	watchMode reuseport.WatchMode // of the queues of other nodes
}

// sharingVariable is the environment variable that changes how queues are shared.
const sharingVariable = "MULTINODE_SHARING"

// withSharing returns the options with what the environment says of sharing.
func (o Options) withSharing() (Options, error) {
	switch how := os.Getenv(sharingVariable); how {
	case "":
	case "off":
		o.ShareQueues = false
	case "on":
		o.ShareQueues = true
	case "polling":
		o.ShareQueues, o.watchMode = true, reuseport.WatchPolling
	default:
		return o, fmt.Errorf("environment variable %s is %q: it must be \"on\", \"off\", \"polling\", or not set", sharingVariable, how)
	}
	return o, nil
}

func (o Options) withDefaults(server Server) (Options, error) {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return o, fmt.Errorf("option Nodes is %d: it must be 0 (one for each CPU) to %d", o.Nodes, maxNodes)
	}
	for name, timeout := range map[string]*time.Duration{
		"BootTimeout": &o.BootTimeout, "StopTimeout": &o.StopTimeout, "OrphanTimeout": &o.OrphanTimeout,
		"LameDuck": &o.LameDuck, "HijackTimeout": &o.HijackTimeout,
		"LivenessTimeout": &o.LivenessTimeout,
	} {
		if *timeout < 0 {
			return o, fmt.Errorf("option %s is %v: it must not be negative", name, *timeout)
		}
	}
	if err := checkServer(server); err != nil {
		return o, err
	}
	if s := serve.HTTPServer(server); s != nil {
		setDefault(&o.Addr, s.Addr)
	}
	if servesTLS(server) {
		setDefault(&o.Addr, ":https")
	}
	setDefault(&o.Addr, ":http")
	setDefault(&o.Nodes, runtime.GOMAXPROCS(0))
	setDefault(&o.Logger, slog.Default())
	setDefault(&o.BootTimeout, 60*time.Second)
	setDefault(&o.StopTimeout, 30*time.Second)
	setDefault(&o.LameDuck, 5*time.Second)
	setDefault(&o.HijackTimeout, o.StopTimeout)
	setDefault(&o.LivenessTimeout, 5*time.Second)
	setDefault(&o.OrphanTimeout, 30*time.Second)
	return o.withSharing()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ofNode returns the options of each node, for n.
func (o Options) ofNode(n *Node) node.Config {
	return node.Config{
		Logger: o.Logger, BootTimeout: o.BootTimeout, StopTimeout: o.StopTimeout, LameDuck: o.LameDuck, HijackTimeout: o.HijackTimeout,
		ManualReady: o.ManualReady, Sharing: node.Sharing{Enabled: o.ShareQueues, Mode: o.watchMode}, Takes: o.takes, PrepareHTTP: provide(n),
	}
}

func (o Options) ofWorker(n *Node) worker.Config {
	return worker.Config{
		Node: o.ofNode(n), Addr: o.Addr, Nodes: o.Nodes, AcceptPauses: o.AcceptPauses, OrphanTimeout: o.OrphanTimeout,
	}
}

func (o Options) ofMaster(n *Node, sys system, program *master.Program) master.Config {
	return master.Config{
		Node: o.ofNode(n), Name: o.Name, Dir: o.Dir, Addr: o.Addr, Nodes: o.Nodes, DisableMasterListen: o.DisableMasterListen,
		DisableRestart: o.DisableRestart, AcceptPauses: o.AcceptPauses, Steering: o.Steering, PIDFile: o.PIDFile,
		LivenessTimeout: o.LivenessTimeout, System: master.System{Start: sys.start, Adopt: sys.adopt, Procs: share},
		NameAt: defaultName, Orders: orders, Program: program,
	}
}

// takes reports whether the node handles a signal: the program has not kept it for itself, and the process was not started to
// ignore it, as a shell does with SIGINT for background jobs.
func (o Options) takes(sig os.Signal) bool {
	return !o.DisableSignals && !slices.Contains(o.LeaveSignals, sig) && !signal.Ignored(sig)
}

// procsAtStart shows whether the program has changed GOMAXPROCS before Listen.
var procsAtStart = runtime.GOMAXPROCS(0)

// share returns the GOMAXPROCS of one of n nodes, rounded up, or 0 when the user has set it for all.
func share(n int) int {
	all := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" || all != procsAtStart {
		return 0
	}
	return (all + n - 1) / n
}

// defaultName is the name of a cluster of this program on the given port, with the characters that are allowed in a name.
func defaultName(port int) string {
	return fmt.Sprintf("%s-%d", cleanName(os.Args[0]), port)
}

// cleanName turns a program's file name into a name, with the characters that are allowed and room for a port.
func cleanName(path string) string {
	program := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return r
		}
		return '_'
	}, filepath.Base(path))
	const maxProgram = 48 // bytes, which leaves room for the port
	program = strings.TrimLeft(program, ".")
	return program[:min(len(program), maxProgram)]
}
