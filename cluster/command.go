package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/multinode-go/multinode/cluster/internal/boot"
	"github.com/multinode-go/multinode/cluster/internal/master"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/internal/descriptors"
	"github.com/multinode-go/multinode/peer"
)

// Command is a program for [Supervise].
type Command struct {
	Path string   // as for exec.LookPath
	Args []string // without the name of the program

	// StopSignal asks a process of the program to finish its requests and end. Default: the signal that the documentation of the
	// program gives, if this package knows the program by its name (nginx, openresty, angie, php-fpm and unicorn: SIGQUIT, httpd
	// and apache2: SIGWINCH, haproxy: SIGUSR1), else SIGTERM. The log shows which one it is.
	StopSignal os.Signal

	// Output gets the lines that the processes write to standard output and error, each with the prefix "slot N | ". Default: the
	// processes write to this process's own directly.
	Output io.Writer
}

// Supervise makes this process the master of a cluster of another program, which it starts opts.Nodes times and keeps running; it
// returns like [Listen], and does not listen itself. Of opts, Addr and DisableMasterListen have no effect; the default Name is
// that of the program.
//
// A program that uses this package takes part as its workers do with Listen: its own Listen finds that it is a worker.
//
// Any other program has to bind its ports with SO_REUSEPORT by itself. It counts as ready when it listens on TCP. Its listeners
// are steered from outside, through duplicates of their descriptors (pidfd_getfd(2)) that are closed at once. Probe connections,
// which send nothing and end in order, show which process has which share of the connections. A process that leaves gets no new
// connections, and is told to stop 100 ms after its accept queue is empty, when it has registered the last connection. Where the
// kernel does not permit that, because the program runs as another user or may not be traced, the kernel's hash decides; the log
// says so once, and Status promises no more than that. Such a program has no liveness probes; it is replaced when its process has
// ended. When this master is killed, a program that does not use this package continues, and a new master does not know it.
//
// If a program does not set SO_REUSEPORT, its second process fails. Then the cluster ends with an error that names the address
// and the program's setting for sharing it. It also ends if the program becomes a daemon, which leaves nothing to supervise. One
// process of a program that does not share its port is supported: it can be restarted, but not reloaded.
//
// Each process of the program leads a process group of its own, so that Ctrl-C reaches this master alone, and it ends as a whole:
// descendants that it leaves behind are asked to end by StopSignal, and are killed two seconds later (after a stop or a reload,
// when StopTimeout is over), before the slot is filled again. For that this process becomes the reaper of its orphans
// (PR_SET_CHILD_SUBREAPER, prctl(2)): children of it that are in another session count as the program's. Wait returns an error
// that Is [ErrLeftBehind] if a process still listens on a port of the cluster when all has ended.
func Supervise(opts Options, command Command) (*Node, error) {
	node, err := superviseCommand(opts, command)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", descriptors.Explain(err))
	}
	return node, nil
}

func superviseCommand(opts Options, command Command) (*Node, error) {
	opts, err := opts.withDefaults(nil)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(command.Path)
	if err != nil {
		return nil, fmt.Errorf("the program to run: %w", err)
	}
	if command.Path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	opts.DisableMasterListen = true
	setDefault(&opts.Name, cleanName(command.Path))
	sys := realSystem()
	if err := sys.balances(); err != nil {
		return nil, err
	}
	if err := master.LeaveProcessOne(); err != nil {
		return nil, err
	}
	p := newProgram(command, opts.Logger)
	sys.start, sys.adopt = p.start, p.adopt
	n := &Node{timeout: opts.StopTimeout}
	n.node, n.master, err = master.Start(context.Background(), opts.ofMaster(n, sys, p.ofMaster()))
	if err != nil {
		return nil, err
	}
	go p.processes.ReapUntil(n.node.Done())
	return n, nil
}

// start starts a process of the program as the worker with role r. A program that does not use this package does not look
// at its role.
func (p *program) start(r boot.Role) (*proc.Process, error) {
	environ, err := r.Environ()
	if err != nil {
		return nil, err
	}
	started, err := p.processes.Start(instance(r.Info()), environ)
	return started, descriptors.Explain(err)
}

// adopt takes over a process that a previous master has started in this way, with its output.
func (p *program) adopt(info peer.Info) (*proc.Process, error) {
	return p.processes.Adopt(instance(info), info.PID)
}

// instance returns how errors, the output and the environment name the process of a worker.
func instance(info peer.Info) proc.Instance {
	return proc.Instance{
		Name: fmt.Sprintf("worker %d", info.ID), Prefix: fmt.Sprintf("slot %d | ", info.Slot), Mark: info.Incarnation.String(),
	}
}
