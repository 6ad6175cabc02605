package cluster

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/proctree"
	"github.com/multinode-go/multinode/peer"
)

const (
	leftoverGrace = 2 * time.Second // for what a process has left behind when it crashed, from the stop signal to SIGKILL
	orphanLook    = time.Second     // between two looks for dead orphans
)

// program is the program of a [Command], and the process trees of it that run.
type program struct {
	Command
	knownProgram
	label  string // the name of its file
	output *prefixer

	conflicts int // processes that could not share a port; the supervisor's

	mu    sync.Mutex
	roots map[int]bool // guarded by mu: of the trees, whether somebody waits for the root
}

// newProgram fills in what is known of a program, and makes this process the reaper of what it leaves behind.
func newProgram(command Command, logger *slog.Logger) *program {
	p := &program{
		Command: command, knownProgram: lookUpProgram(command.Path, command.Args), label: filepath.Base(command.Path),
		output: &prefixer{out: command.Output}, roots: make(map[int]bool),
	}
	why := "given"
	if p.StopSignal == nil {
		p.StopSignal, why = syscall.SIGTERM, "default"
		if p.stop != 0 {
			p.StopSignal, why = p.stop, "graceful stop in the documentation of "+p.name
		}
	}
	logger.Info("stop signal", "program", p.label, "signal", signalName(p.StopSignal), "why", why)
	if err := proctree.Adopt(); err != nil {
		logger.Warn("what the program leaves behind is found in its process group only", "error", err)
	}
	return p
}

// startTree starts a process as the root of a tree, which ends as a whole.
func (p *program) startTree(cmd *exec.Cmd, words *tail, mark peer.Incarnation) (*process, error) {
	started, err := startAndWait(cmd, words)
	if err != nil {
		return nil, err
	}
	return p.whole(started, mark), nil
}

// whole returns a process whose exit is told when all that it has started has ended too, and that is killed with it. It
// starts a goroutine that ends with the last of them.
func (p *program) whole(root *process, mark peer.Incarnation) *process {
	tree := proctree.New(root.pid, mark.String())
	p.setRoot(root.pid, true)
	exited, asked, late := make(chan exit, 1), make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	kill := sync.OnceFunc(func() { close(late) })
	go func() {
		e := <-root.exited
		p.setRoot(root.pid, false)
		if !isClosed(asked) { // else StopTimeout bounds it
			defer time.AfterFunc(leftoverGrace, kill).Stop()
		}
		sig, _ := p.StopSignal.(syscall.Signal)
		if e.isDone() {
			if daemons := append(tree.Left(), p.orphans()...); len(daemons) > 0 {
				e.daemon = daemons[0].String()
			}
		}
		left, alive := proctree.End(tree.Left, sig, late)
		e.left, e.alive = names(left), names(alive)
		p.reap()
		p.forgetRoot(root.pid)
		exited <- e
	}()
	return &process{pid: root.pid, exited: exited, note: tree.Note, signal: func(sig os.Signal) error {
		switch sig {
		case p.StopSignal:
			ask()
		case os.Kill:
			kill()
			for _, o := range tree.Left() {
				_ = o.Signal(syscall.SIGKILL) // it may be gone
			}
		}
		return root.signal(sig)
	}}
}

func (p *program) setRoot(pid int, waited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roots[pid] = waited
}

func (p *program) forgetRoot(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.roots, pid)
}

// isWaited tells whether a process is the root of a tree whose exit somebody waits for.
func (p *program) isWaited(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roots[pid]
}

func (p *program) isGroup(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.roots[pid]
	return known
}

// reap takes the exits of the processes whose parents have ended.
func (p *program) reap() { proctree.Reap(p.isWaited, p.isGroup) }

// reapUntil is a goroutine that ends with done.
func (p *program) reapUntil(done <-chan struct{}) {
	ticker := time.NewTicker(orphanLook)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.reap()
		case <-done:
			p.reap()
			return
		}
	}
}

// orphans returns the daemons that the program has left behind.
func (p *program) orphans() []proctree.Process { return proctree.Orphans(p.isWaited) }

// endOrphans ends them. late says that they have no time any more.
func (p *program) endOrphans(late <-chan struct{}) {
	sig, _ := p.StopSignal.(syscall.Signal)
	proctree.End(p.orphans, sig, late)
	p.reap()
}

// names lists processes, as in "nginx (pid 1), nginx (pid 2)".
func names(processes []proctree.Process) string {
	all := make([]string, len(processes))
	for i, p := range processes {
		all[i] = p.String()
	}
	return strings.Join(all, ", ")
}

// verdict returns why a process that was never ready can never be, if that is certain: others would fail like it.
func (p *program) verdict(e exit, died *WorkerError, listening string) error {
	if e.daemon != "" {
		return p.backgroundError(e.daemon)
	}
	if listening == "" {
		return nil
	}
	p.conflicts++
	if p.conflicts < conflictLimit && !saysInUse(died.LastWords) {
		return nil
	}
	return p.shareError(listening)
}

// conflictLimit is how many processes have to fail beside one that has the port for itself, where they don't say why.
const conflictLimit = 2

// saysInUse tells whether a program has complained of EADDRINUSE, in its own words.
func saysInUse(words string) bool {
	words = strings.ToLower(words)
	return strings.Contains(words, "in use") || strings.Contains(words, "eaddrinuse")
}

func (p *program) backgroundError(daemon string) error {
	return fmt.Errorf("%s has ended before it listened, and left %s behind, which cannot be supervised: %s", p.label, daemon,
		orElse(p.foreground, "start it so that it stays in the foreground"))
}

// shareError says what is wrong with a program that has an address for itself, and what to do.
func (p *program) shareError(address string) error {
	return fmt.Errorf("%s listens on %s without SO_REUSEPORT, so that only one process can have that port: %s; "+
		"or run a single process", p.label, address, orElse(p.share, "set SO_REUSEPORT on its socket before bind"))
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
