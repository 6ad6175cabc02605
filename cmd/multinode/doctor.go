package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// support is what the kernel lets this user do with a shared port.
type support struct {
	rung   rung
	kernel string

	// Why something is not there; nil: it is.
	attach      error // give the kernel a program that chooses the process for a connection
	reattach    error // exchange that program while connections come in
	incomingCPU error // SO_INCOMING_CPU
	migrate     error // hand connections of a process that died to another

	wakesMigrated bool // a process is told of connections that it gets that way
	advice        []advice
}

// rung is a way to steer connections, and what it promises.
type rung struct{ name, promise string }

// advice is what would give more, and the command for it, if there is one.
type advice struct{ gives, command string }

// ladder are the ways to steer, from the least to the best.
func ladder() []rung {
	return []rung{
		{"hash", "the kernel spreads connections by itself; at a reload a few that have just come may be reset"},
		{"incoming-cpu", "a reload or a stop loses no connection, as long as there are as many nodes as CPUs"},
		{"cbpf", "a reload, a scale, a drain or a stop loses no connection"},
		{"cbpf+migrate", "the same, and of a process that crashes only the connections that it had accepted"},
	}
}

const goodRung = "cbpf" // the best one without privilege

// machine is what doctor looks at.
type machine struct {
	probe  func() (support, error)
	checks []func(context.Context) check
}

// check is one finding about the machine.
type check struct {
	verdict verdict
	text    string   // what is, in a sentence
	why     string   // what that means, if it is not fine
	command []string // that mends it
}

type verdict int

const (
	fine verdict = iota
	poor         // it works, and would work better
	bad          // a cluster cannot start, or soon not
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can do for a cluster, and how it could do more",
		Long: `Tells what this machine and this user can do for a cluster: which connections survive a reload or a crash, which limits
are near, and for each thing that could be better the command to run. It changes nothing.

Exit code 0: a reload loses no connection, and a cluster can start. 1: not so; the text says what to do.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error { return a.doctor(ctx) }),
	}
}

func (a *app) doctor(ctx context.Context) error {
	s, err := a.machine.probe()
	if err != nil {
		return err
	}
	healthy := a.writeSupport(s)
	fmt.Fprintln(a.stdout, "\nThe rest of the machine")
	for _, look := range a.machine.checks {
		c := look(ctx)
		a.writeCheck(c)
		healthy = healthy && c.verdict != bad
	}
	if !healthy {
		return failure(codeFailed, nil)
	}
	return nil
}

// writeSupport reports whether the best way without privilege is there.
func (a *app) writeSupport(s support) (good bool) {
	all := ladder()
	at := slices.IndexFunc(all, func(r rung) bool { return r.name == s.rung.name })
	best := slices.IndexFunc(all, func(r rung) bool { return r.name == goodRung })
	good = at < 0 || at >= best // one that is not in our list is newer
	colour, word := green, "good"
	if !good {
		colour, word = yellow, "could be better"
	}
	fmt.Fprintf(a.stdout, "Connections at a reload, a stop or a crash: %s\n", a.paint.paint(colour, word))
	fmt.Fprintf(a.stdout, "  Kernel %s. A new connection goes to one of the nodes; how well that can be steered comes in steps:\n\n", s.kernel)
	for i, r := range all {
		mark, colour := "   ", faint
		if i == at {
			mark, colour, r = "=> ", bold, s.rung
		}
		fmt.Fprintln(a.stdout, a.paint.paint(colour, strings.TrimRight(fmt.Sprintf("  %s%-13s %s", mark, r.name, r.promise), " ")))
	}
	if at < 0 {
		fmt.Fprintln(a.stdout, a.paint.paint(bold, fmt.Sprintf("  => %-13s %s", s.rung.name, s.rung.promise)))
	}
	fmt.Fprintln(a.stdout)
	a.writeCan("The nodes can tell the kernel which of them gets a connection", s.attach)
	a.writeCan("They can change that while connections come in", s.reattach)
	a.writeCan("A node can be left out by the CPU that a connection comes in on", s.incomingCPU)
	a.writeCan("Connections that wait at a node that dies go to another one", s.migrate)
	if s.migrate == nil && !s.wakesMigrated {
		fmt.Fprintln(a.stdout, "      (this kernel does not wake a node for them, so they may wait until its next connection)")
	}
	writeAdvice(a.stdout, s.advice)
	return good
}

func (a *app) writeCan(what string, err error) {
	if err == nil {
		a.writeCheck(check{verdict: fine, text: what})
		return
	}
	a.writeCheck(check{verdict: poor, text: what, why: "no: " + err.Error()})
}

func writeAdvice(out io.Writer, all []advice) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(out, "\n  To get more:")
	for _, advice := range all {
		fmt.Fprintf(out, "    %s\n", advice.gives)
		if advice.command != "" {
			fmt.Fprintf(out, "      %s\n", advice.command)
		}
	}
}

func (a *app) writeCheck(c check) {
	mark := map[verdict]string{
		fine: a.paint.paint(green, "ok "), poor: a.paint.paint(yellow, "-  "), bad: a.paint.paint(red, "!! "),
	}[c.verdict]
	fmt.Fprintf(a.stdout, "  %s %s\n", mark, c.text)
	if c.why != "" {
		fmt.Fprintf(a.stdout, "      %s\n", c.why)
	}
	for _, command := range c.command {
		fmt.Fprintf(a.stdout, "        %s\n", command)
	}
}
