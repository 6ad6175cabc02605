package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/reuseport"
)

// machine is the input of doctor.
type machine struct {
	probe  func() reuseport.Support
	watch  func() error // reuseport.ProbeWatch
	checks []func(context.Context) check
	root   bool // commands need no sudo
	sysctl bool // some command is one of sysctl
}

// check is one finding about the machine.
type check struct {
	verdict  verdict
	text     string   // what is, in a sentence
	why      string   // what that means, if it is not fine
	commands []string // that fix it, as root; text after a "#" is what to do in another way
}

type verdict int

const (
	fine verdict = iota
	poor         // it works, and would work better
	bad          // a cluster cannot start, or soon not
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine can do for a cluster, and how it could do more",
		Long: `Tells what this machine and this user can do for a cluster: which connections survive a reload or a crash, which limits
are near, and for each thing that could be better the command to run. It changes nothing.

Exit code 0: a reload loses no connection, and a cluster can start. 1: not so; the text says what to do.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error { return diagnosis{a}.run(ctx) }),
	}
}

// diagnosis writes the output of the command doctor.
type diagnosis struct{ *app }

func (d diagnosis) run(ctx context.Context) error {
	healthy := d.writeSupport(d.machine.probe())
	fmt.Fprintln(d.stdout, "\nThe rest of the machine")
	for _, look := range d.machine.checks {
		c := look(ctx)
		d.writeCheck(c)
		healthy = healthy && c.verdict != bad
	}
	if d.machine.sysctl {
		fmt.Fprintln(d.stdout)
		d.writeText("", "What sysctl -w has set is gone at the next boot: to keep it, write NAME=VALUE into "+
			"/etc/sysctl.d/60-multinode.conf. In a container it may not be allowed: start that with docker run --sysctl NAME=VALUE.")
	}
	if !healthy {
		return failure(codeFailed, nil)
	}
	return nil
}

// goodRung is the best rung that needs no privilege.
const goodRung = reuseport.RungBPF

// writeSupport writes how the kernel lets us steer, and reports whether that is at least goodRung.
func (d diagnosis) writeSupport(s reuseport.Support) (good bool) {
	good = s.Rung >= goodRung
	colour, word := green, "good"
	if !good {
		colour, word = yellow, "could be better"
	}
	fmt.Fprintf(d.stdout, "Connections when a node leaves: %s\n", d.paint.paint(colour, word))
	d.writeText("  ", fmt.Sprintf("The kernel (%s) gives each new connection to one of the nodes. How well it can be told "+
		"to which decides what is lost when a node leaves, from the least to the best:", s.Kernel))
	for rung := reuseport.RungHash; rung <= reuseport.RungBPFMigrate; rung++ {
		mark, colour := "     ", faint
		if rung == s.Rung {
			mark, colour = "  => ", bold
		}
		fmt.Fprintln(d.stdout, d.paint.paint(colour, mark+rung.String()))
		d.writeText("       ", rung.Promise())
	}
	fmt.Fprintln(d.stdout)
	d.writeCan("Nodes can tell the kernel which of them gets a connection", s.Attach)
	d.writeCan("They can change that while connections come in", s.Reattach)
	d.writeCan("A node can be left out by the CPU that a connection comes in on", s.IncomingCPU)
	d.writeCan("Connections that wait at a node that crashes go to another one", s.Migrate)
	d.writeCan("The kernel can wake an idle node for what waits at a busy one (Options.ShareQueues)", d.machine.watch())
	if s.Migrate == nil && !s.WakesMigrated {
		d.writeText("      ", "This kernel does not wake a node for them, so the nodes look by themselves.")
	}
	d.writeAdvice(s.Advice)
	return good
}

func (d diagnosis) writeCan(what string, err error) {
	c := check{text: what}
	if err != nil {
		c.verdict, c.why = poor, "no: "+strings.TrimSuffix(err.Error(), ": "+errors.ErrUnsupported.Error())
	}
	d.writeCheck(c)
}

func (d diagnosis) writeAdvice(all []reuseport.Advice) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(d.stdout, "\n  To get more:")
	for _, advice := range all {
		d.writeText("    ", advice.Gives)
		d.writeCommand(advice.Command)
	}
}

func (d diagnosis) writeCheck(c check) {
	mark := map[verdict]string{
		fine: d.paint.paint(green, "ok "), poor: d.paint.paint(yellow, "-  "), bad: d.paint.paint(red, "!! "),
	}[c.verdict]
	fmt.Fprintf(d.stdout, "  %s %s\n", mark, c.text)
	d.writeText("      ", c.why)
	for _, command := range c.commands {
		d.writeCommand(command)
	}
}

// writeCommand writes a command to type; text after a "#" is what to do in another way.
func (d diagnosis) writeCommand(command string) {
	const indent = "        "
	if todo, found := strings.CutPrefix(command, "#"); found {
		d.writeText(indent, strings.TrimSpace(todo))
		return
	}
	d.machine.sysctl = d.machine.sysctl || strings.HasPrefix(command, "sysctl ")
	if !d.machine.root {
		command = "sudo " + command
	}
	fmt.Fprintln(d.stdout, indent+command)
}

const textWidth = 100

// writeText writes text in lines of some width.
func (d diagnosis) writeText(indent, text string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(indent)+len(line)+1+len(word) > textWidth {
			fmt.Fprintln(d.stdout, indent+line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	if line != "" {
		fmt.Fprintln(d.stdout, indent+line)
	}
}
