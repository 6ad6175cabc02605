package cluster

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/multinode-go/multinode/cluster/internal/master"
	"github.com/multinode-go/multinode/cluster/internal/proc"
	"github.com/multinode-go/multinode/cluster/internal/steering"
	"github.com/multinode-go/multinode/cluster/internal/supervise"
	"github.com/multinode-go/multinode/reuseport"
)

// program is the program of a [Command].
type program struct {
	Command
	knownProgram
	label     string // the name of its file
	processes *proc.Program

	conflicts int // processes that could not share a port; the supervisor's
}

// newProgram fills in the description of a program that is known, and makes this process the reaper of its orphans.
func newProgram(command Command, logger *slog.Logger) *program {
	p := &program{
		Command: command, knownProgram: lookUpProgram(command.Path, command.Args), label: filepath.Base(command.Path),
	}
	why := "given"
	if p.StopSignal == nil {
		p.StopSignal, why = syscall.SIGTERM, "default"
		if p.stop != 0 {
			p.StopSignal, why = p.stop, "graceful stop in the documentation of "+p.name
		}
	}
	logger.Info("stop signal", "program", p.label, "signal", signalName(p.StopSignal), "why", why)
	p.processes = proc.NewProgram(proc.Config{
		Path: command.Path, Args: command.Args, StopSignal: p.StopSignal, Output: command.Output,
	})
	if err := p.processes.AdoptOrphans(); err != nil {
		logger.Warn("what the program leaves behind is found in its process group only", "error", err)
	}
	return p
}

// ofMaster returns the part of the program that the master needs.
func (p *program) ofMaster() *master.Program {
	return &master.Program{
		Steered:    steering.Program{Label: p.label, Promise: p.promise},
		Supervised: supervise.Program{StopSignal: p.StopSignal, Verdict: p.verdict},
		EndOrphans: p.processes.EndOrphans,
	}
}

// verdict returns why a process that was never ready can never be, if that is certain: others would fail like it.
func (p *program) verdict(e proc.Exit, listening string) error {
	if e.Daemon != "" {
		return p.backgroundError(e.Daemon)
	}
	if listening == "" {
		return nil
	}
	p.conflicts++
	if p.conflicts < conflictLimit && !saysInUse(e.LastWords) {
		return nil
	}
	return p.shareError(listening)
}

// conflictLimit is how many processes have to fail beside one that does not share the port, if they don't print why.
const conflictLimit = 2

// saysInUse reports whether a program has complained of EADDRINUSE, in its own words.
func saysInUse(words string) bool {
	words = strings.ToLower(words)
	return strings.Contains(words, "in use") || strings.Contains(words, "eaddrinuse")
}

func (p *program) backgroundError(daemon string) error {
	return fmt.Errorf("%s has ended before it listened, and left %s behind, which cannot be supervised: %s", p.label, daemon,
		cmp.Or(p.foreground, "start it so that it stays in the foreground"))
}

// shareError returns the error of a program that does not share an address, with how to solve it.
func (p *program) shareError(address string) error {
	return fmt.Errorf("%s listens on %s without SO_REUSEPORT, so that only one process can have that port: %s; "+
		"or run a single process", p.label, address, cmp.Or(p.share, "set SO_REUSEPORT on its socket before bind"))
}

// promise returns the guarantee of a level for a program that is steered from outside.
func (p *program) promise(level reuseport.Rung) string {
	crash := "its connections and those that wait in its queue"
	if level == reuseport.RungBPFMigrate {
		crash = "its own accepted connections only"
	}
	return fmt.Sprintf("A process that leaves as planned loses no connection that waits, and %s finishes its requests as far as it "+
		"does on %s; a crash loses %s.", p.label, signalName(p.StopSignal), crash)
}
