// Package cluster runs a program in N processes that share one port.
//
// The first process is the master. It starts the program again for each worker; every process that accepts binds the
// same port by itself with SO_REUSEPORT, so that the kernel spreads the connections and no descriptor is passed. The
// master assigns ids, restarts workers that die, and stops all processes together.
//
//	func main() {
//		server := &http.Server{Handler: handler}
//		node, err := cluster.Listen(cluster.Options{Addr: ":8080", Nodes: 4}, server)
//		if err != nil {
//			log.Fatal(err)
//		}
//		if err := node.Wait(); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// What always holds: an id is never used twice; a slot has at most one current worker; a worker that dies costs no other
// process a connection; a worker whose master is gone continues to serve, and leaves after a timeout.
//
// What it does not do: it does not share memory or sessions between the processes, and it does not isolate them from
// one another: all run as the same user in the same directory. A program that starts a cluster runs from its first
// line in each worker, so what must happen once belongs behind [Node.IsMaster], after [Listen] or [Start].
//
// Listen is for programs whose handlers find the node by [FromContext]. If handlers need the node when they are made, call
// [Start], make them, and then call [Node.Serve].
//
// Where the kernel does not balance (macOS, Windows) or ports cannot be reserved (FreeBSD), Listen serves with one node in
// this process and says so in one warning.
package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/multinode-go/multinode/cluster/internal/master"
	"github.com/multinode-go/multinode/cluster/internal/worker"
	"github.com/multinode-go/multinode/internal/descriptors"
)

// Listen makes this process a node of a cluster, as [Start] does, and serves with server, as [Node.Serve] does. It returns
// when the node listens and its server is starting; [Node.WaitReady] waits until the cluster is ready, [Node.Wait]
// until the node has ended. Requests may arrive before it returns: their handlers find the node with [FromContext].
//
// With a nil server the caller serves [Node.Listener] by itself.
//
// A process can be in one cluster; a second Listen or [Start] in a worker is an error.
//
// Listen handles these signals, unless [Options] leaves them to the program:
//
//   - SIGTERM and SIGINT stop the node gracefully, and on the master all others with it. A second one ends the process at once,
//     the way it would have without Listen, and on the master the workers first; a signal within a second of the first
//     counts as the same one.
//   - SIGHUP makes a master [Node.Reload]. If the reason is that the terminal is gone, it stops the node as SIGTERM does.
//   - SIGTTIN makes a master [Node.Scale] to one node more, SIGTTOU to one fewer.
//   - SIGUSR2 makes a master [Node.Takeover].
//
// A worker ignores SIGHUP, SIGTTIN, SIGTTOU and SIGUSR2. An order by signal waits while another operation runs. Signals that
// arrive meanwhile are merged into it: one reload or takeover waits, and one change of the number of nodes, by their sum. The
// kernel merges signals of a kind that arrive at the same moment, so Scale is for exact numbers. A signal that the process was
// started to ignore, as by nohup, is not handled. SIGQUIT is left to the Go runtime: the master sends it to a worker that
// hangs, which then writes its goroutines to standard error and ends.
//
// In process 1 of a container Listen does not return: that process becomes a minimal init, which starts the program once more
// as its child, so main runs up to Listen twice. Descriptors that main has opened before are closed in process 1, unless it
// inherited them. The init passes all signals on, reaps orphans, and ends with the exit code of the master. It starts the
// master again when that has crashed: when a signal has killed it, or it has ended with an exit code other than 0, after it was
// ready and before it began to stop. The new master adopts the workers. A master that crashes again and again is started after
// 100 ms, then 200 ms, up to 10 s later; after 10 starts in a row that did not become ready, the init ends. A program that is
// not ready for the first time ends the container.
//
// The errors of Listen name the address or the directory that they are about, the process that holds it where the kernel
// shows that, and a remedy; they wrap the errno ([syscall.EADDRINUSE], [syscall.EACCES], ...) for errors.Is.
func Listen(opts Options, server Server) (*Node, error) {
	node, err := listen(opts, server, realSystem())
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", descriptors.Explain(err))
	}
	return node, nil
}

// Start makes this process a node of a cluster: the master if the user started it, or a worker if the master did. It returns
// when the port is reserved and the node is linked with all others, and before it listens. So the program can make what its
// handlers need of the node, such as a cache, and warm up; then it calls [Node.Serve] or [Node.Listener]. Until then the node
// gets no connection; a worker has to be ready within Options.BootTimeout. ctx bounds the call of Start and has no effect on
// the node.
//
// Start treats signals and process 1 as [Listen] does, and returns the same errors.
func Start(ctx context.Context, opts Options) (*Node, error) {
	opts, err := opts.withDefaults(nil)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	node, err := start(ctx, opts, realSystem())
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", descriptors.Explain(err))
	}
	return node, nil
}

func listen(opts Options, server Server, sys system) (*Node, error) {
	opts, err := opts.withDefaults(server)
	if err != nil {
		return nil, err
	}
	n, err := start(context.Background(), opts, sys)
	if err != nil {
		return nil, err
	}
	if server == nil {
		_, err = n.node.Front()
	} else {
		err = serveBy(n, server, nil)
	}
	if err != nil {
		n.node.Stop(err, opts.StopTimeout)
		_ = n.Wait() // the error is that of the stop's cause
		return nil, err
	}
	return n, nil
}

func start(ctx context.Context, opts Options, sys system) (n *Node, err error) {
	role, err := takeRole()
	if err != nil {
		return nil, err
	}
	n = &Node{timeout: opts.StopTimeout}
	if role != nil {
		n.node, err = worker.Start(ctx, opts.ofWorker(n), *role)
		return n, err
	}
	why := sys.balances()
	if why == nil {
		n.node, n.master, why = master.Start(ctx, opts.ofMaster(n, sys, nil))
		if !errors.Is(why, errors.ErrUnsupported) {
			return n, why
		}
	}
	n.isAlone = true
	n.node, err = startAlone(ctx, opts, n, why)
	return n, err
}
