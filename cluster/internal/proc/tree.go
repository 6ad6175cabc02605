package proc

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/multinode-go/multinode/cluster/internal/proctree"
)

const (
	leftoverGrace = 2 * time.Second // for the descendants of a crashed process, from the stop signal to SIGKILL
	orphanLook    = time.Second     // between two looks for dead orphans
)

// startTree starts a process as the root of a tree, which ends as a whole.
func (p *Program) startTree(cmd *exec.Cmd, words *tail, mark string) (*Process, error) {
	started, err := start(cmd, words)
	if err != nil {
		return nil, err
	}
	return p.whole(started, mark), nil
}

// whole returns a process whose exit is delivered when all its descendants have ended too, and that is killed with them. It
// starts a goroutine that ends with the last of them.
func (p *Program) whole(root *Process, mark string) *Process {
	tree := proctree.New(root.PID, mark)
	p.setRoot(root.PID, true)
	exited, late := make(chan Exit, 1), make(chan struct{})
	kill := sync.OnceFunc(func() { close(late) })
	asked := new(atomic.Bool)
	go func() {
		e := <-root.Exited
		p.setRoot(root.PID, false)
		if !asked.Load() { // else os.Kill bounds it
			defer time.AfterFunc(leftoverGrace, kill).Stop()
		}
		if e.IsDone() {
			if daemons := append(tree.Left(), p.orphans()...); len(daemons) > 0 {
				e.Daemon = daemons[0].String()
			}
		}
		left, alive := proctree.End(tree.Left, p.stopSignal(), late)
		e.Left, e.Alive = names(left), names(alive)
		p.reap()
		p.forgetRoot(root.PID)
		exited <- e
	}()
	return &Process{PID: root.PID, Exited: exited, note: tree.Note, Signal: func(sig os.Signal) error {
		switch sig {
		case p.config.StopSignal:
			asked.Store(true)
		case os.Kill:
			kill()
			left := tree.Left()     // first: a process that belongs only as a child of the root is not found without it
			err := root.Signal(sig) // before them: it might end by itself when they end
			for _, o := range left {
				_ = o.Signal(syscall.SIGKILL) // it may be gone
			}
			return err
		}
		return root.Signal(sig)
	}}
}

func (p *Program) stopSignal() syscall.Signal {
	sig, _ := p.config.StopSignal.(syscall.Signal)
	return sig
}

func (p *Program) setRoot(pid int, waited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roots[pid] = waited
}

func (p *Program) forgetRoot(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.roots, pid)
}

// isWaited reports whether a process is the root of a tree whose exit is waited for.
func (p *Program) isWaited(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roots[pid]
}

func (p *Program) isGroup(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.roots[pid]
	return known
}

// reap takes the exits of the processes whose parents have ended.
func (p *Program) reap() { proctree.Reap(p.isWaited, p.isGroup) }

// ReapUntil takes the exits of the processes whose parents have ended, every second and when done is closed. Then it returns.
func (p *Program) ReapUntil(done <-chan struct{}) {
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
func (p *Program) orphans() []proctree.Process { return proctree.Orphans(p.isWaited) }

// names lists processes, as in "nginx (pid 1), nginx (pid 2)".
func names(processes []proctree.Process) string {
	all := make([]string, len(processes))
	for i, p := range processes {
		all[i] = p.String()
	}
	return strings.Join(all, ", ")
}
