package proc

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/multinode-go/multinode/cluster/internal/proctree"
	"github.com/multinode-go/multinode/internal/errline"
)

// Config says how the processes of a [Program] run.
type Config struct {
	Path       string // absolute
	Args       []string
	StopSignal os.Signal // asks a process, and its descendants that are left, to end
	Output     io.Writer // gets the output of the processes, line by line; nil: they write to ours by themselves
}

// Program starts processes of a program, each as the leader of a process group of its own and as the root of a tree of
// processes that ends as a whole, see package proctree.
//
// If it is the root that ends, the rest of its tree has two seconds from the StopSignal on until it is killed; if the root
// has been sent the StopSignal, the rest may live until os.Kill is sent. The Exit of the root comes when all have ended.
type Program struct {
	config Config
	output *prefixer // nil: the processes write to ours by themselves

	mu    sync.Mutex
	roots map[int]bool // guarded by mu: of the trees, whether the exit of the root is waited for
}

// Instance describes one process of a Program.
type Instance struct {
	Name   string // in errors, such as "worker 3"
	Prefix string // of its lines in Config.Output
	Mark   string // in its environment, and only there and in those of its descendants
}

// NewProgram returns a program of which nothing runs yet.
func NewProgram(c Config) *Program {
	p := &Program{config: c, roots: make(map[int]bool)}
	if c.Output != nil {
		p.output = &prefixer{out: c.Output}
	}
	return p
}

// AdoptOrphans makes this process the parent of the program's orphans; [Program.ReapUntil] reaps them. If it fails, only those in
// the process groups are found.
func (p *Program) AdoptOrphans() error { return proctree.Adopt() }

// Start starts a process, with env added to its environment.
func (p *Program) Start(i Instance, env ...string) (*Process, error) {
	cmd := exec.CommandContext(context.Background(), p.config.Path, p.config.Args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = proctree.Attributes()
	if p.output == nil {
		return p.startTree(cmd, nil, i.Mark)
	}
	reader, writer, err := lastingPipe()
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", i.Name, err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	words := newTail(reader, p.output.writer(i.Prefix))
	started, err := p.startTree(cmd, words, i.Mark)
	if err = errline.Join(err, writer.Close()); err != nil { // the process has it now
		_ = words.finish()
		return nil, err
	}
	return started, nil
}

// Adopt takes over a process that another process has started in this way, and its output.
func (p *Program) Adopt(i Instance, pid int) (*Process, error) {
	adopted, err := Adopt(pid)
	if err != nil {
		return nil, err
	}
	adopted = p.whole(adopted, i.Mark)
	if p.output == nil {
		return adopted, nil
	}
	reader, err := outputOf(pid)
	if err != nil {
		return adopted, nil //nolint:nilerr // it writes somewhere else
	}
	words, exited := newTail(reader, p.output.writer(i.Prefix)), make(chan Exit, 1)
	go func() { // ends with the process
		e := <-adopted.Exited
		e.LastWords = lastWords(words.finish())
		exited <- e
	}()
	return &Process{PID: adopted.PID, Signal: adopted.Signal, Exited: exited, note: adopted.note}, nil
}

// EndOrphans ends the daemons that the program has left behind: it asks them to end, and kills those that are alive after two
// seconds, or when ctx is done.
func (p *Program) EndOrphans(ctx context.Context) {
	late, cancel := context.WithTimeout(ctx, leftoverGrace)
	defer cancel()
	proctree.End(p.orphans, p.stopSignal(), late.Done())
	p.reap()
}
