package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster/control"
)

// order is an order to the master, and its messages to the user.
type order struct {
	give       func(c *control.Client, ctx context.Context, w control.Waiting) error
	doing      string                   // "reloading the 3 workers of web"
	done       string                   // "reloaded web"
	goesOn     string                   // "the reload"
	ends       func(control.Event) bool // whether it is the last event of what was asked for
	refuseBusy bool
	noWait     bool
	timeout    time.Duration
}

// flags gives a command the flags of an order.
func (o *order) flags(command *cobra.Command, canRefuse bool) {
	if canRefuse {
		command.Flags().BoolVar(&o.refuseBusy, "refuse-busy", false,
			"fail, with exit code 4, when a reload or scale runs, instead of waiting for it")
	}
	command.Flags().BoolVar(&o.noWait, "no-wait", false, "do not wait until it is done; the events tell how it goes")
	command.Flags().DurationVar(&o.timeout, "timeout", 0,
		"do not wait longer than that, as in 90s, and end with exit code 5; what was begun goes on (default: no limit)")
	if canRefuse {
		command.MarkFlagsMutuallyExclusive("refuse-busy", "no-wait")
	}
}

func reloadCommand(a *app) *cobra.Command {
	var o order
	command := a.takesCluster(&cobra.Command{
		Use:   "reload [NAME]",
		Short: "Replace all workers by new ones, without losing a connection",
		Long: `Replaces all workers, one after the other: a new one is started, which takes the program as it is on disk now, and
when it is ready the old one finishes its requests and leaves. When a new one does not become ready, the reload ends
there and the old ones go on.

The master itself is not replaced, as it holds the cluster together. If it accepts connections, one more worker takes that
over, so that all that serve run the new program.`,
		Args:              takes(0, 1, "web"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			c, status, err := a.findStatus(ctx, first(args))
			if err != nil {
				return err
			}
			o.give, o.goesOn, o.ends = (*control.Client).Reload, "the reload", isKind(control.EventReloaded)
			o.doing = fmt.Sprintf("reloading the %s of %s", plural(workers(status), "worker"), c.name)
			o.done = "reloaded " + c.name
			return a.give(ctx, c, o, status)
		}),
	})
	o.flags(command, true)
	return command
}

func scaleCommand(a *app) *cobra.Command {
	var o order
	command := a.takesCluster(&cobra.Command{
		Use:   "scale [NAME] N",
		Short: "Have N nodes that accept connections",
		Long: `Starts or takes away workers until N nodes accept connections. The master is one of them, unless it only supervises.
Workers that are taken away finish their requests first.`,
		Example:           "  multinode scale 8\n  multinode scale web 8",
		Args:              takes(1, 2, "8"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			name, n, err := nameAndNumber(args, "how many nodes")
			if err != nil {
				return err
			}
			c, status, err := a.findStatus(ctx, name)
			if err != nil {
				return err
			}
			o.give = func(c *control.Client, ctx context.Context, w control.Waiting) error { return c.Scale(ctx, n, w) }
			o.goesOn, o.ends = "the scale", isKind(control.EventScaled)
			o.doing = fmt.Sprintf("scaling %s from %d to %s", c.name, status.Wanted, plural(n, "node"))
			o.done = fmt.Sprintf("%s has %s", c.name, plural(n, "node"))
			return a.give(ctx, c, o, status)
		}),
	})
	o.flags(command, true)
	return command
}

func drainCommand(a *app) *cobra.Command {
	var o order
	command := a.takesCluster(&cobra.Command{
		Use:   "drain [NAME] ID",
		Short: "Replace one worker by a new one, without losing a connection",
		Long: `Replaces the worker of that ID, which status shows: a new one is started, and when it is ready the old one finishes its
requests and leaves.`,
		Example:           "  multinode drain 7\n  multinode drain web 7",
		Args:              takes(1, 2, "7"),
		ValidArgsFunction: a.completeNameAndID,
		RunE: does(func(ctx context.Context, args []string) error {
			name, id, err := nameAndNumber(args, "the id of a worker")
			if err != nil {
				return err
			}
			c, status, err := a.findStatus(ctx, name)
			if err != nil {
				return err
			}
			o.give = func(c *control.Client, ctx context.Context, w control.Waiting) error { return c.Drain(ctx, id, w) }
			o.goesOn = "the replacement"
			o.ends = func(e control.Event) bool {
				return e.ID == id && (e.Kind == control.EventDrained || e.Kind == control.EventLeft)
			}
			o.doing = fmt.Sprintf("replacing node %d of %s", id, c.name)
			o.done = fmt.Sprintf("replaced node %d", id)
			return a.give(ctx, c, o, status)
		}),
	})
	o.flags(command, false)
	return command
}

// pauseCommand is pause, or resume.
func pauseCommand(a *app, pause bool) *cobra.Command {
	name, short, done, give := "resume", "Let a worker that was paused have new connections again", "resumed", (*control.Client).Resume
	if pause {
		name, short, done, give = "pause", "Let one worker get no new connections until it is resumed", "paused", (*control.Client).Pause
	}
	return a.takesCluster(&cobra.Command{
		Use:   name + " [NAME] ID",
		Short: short,
		Long: `A worker that is paused goes on with the connections that it has and gets no new ones, over takeovers and deaths of the master,
until it is resumed or its process has ended. A reload replaces it by one that is not paused.`,
		Example:           "  multinode " + name + " 7\n  multinode " + name + " web 7",
		Args:              takes(1, 2, "7"),
		ValidArgsFunction: a.completeNameAndID,
		RunE: does(func(ctx context.Context, args []string) error {
			name, id, err := nameAndNumber(args, "the id of a worker")
			if err != nil {
				return err
			}
			c, err := a.find(ctx, name)
			if err != nil {
				return err
			}
			if err := give(c.Client, ctx, id); err != nil {
				return c.explain(ctx, err)
			}
			fmt.Fprintf(a.stdout, "%s node %d\n", done, id)
			return nil
		}),
	})
}

func takeoverCommand(a *app) *cobra.Command {
	var o order
	command := a.takesCluster(&cobra.Command{
		Use:   "takeover [NAME]",
		Short: "Replace the master by a new process, and no worker",
		Long: `Starts the program as it is on disk now as the new master, which takes the workers over as they are; the old master
then leaves. If it accepts connections it finishes its requests first. When the new one does not come up, the old one goes
on.

A reload afterwards brings the workers to the new program, too.`,
		Args:              takes(0, 1, "web"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			c, status, err := a.findStatus(ctx, first(args))
			if err != nil {
				return err
			}
			o.give, o.goesOn, o.ends = (*control.Client).Takeover, "the takeover", isKind(control.EventHandedOver)
			o.doing = fmt.Sprintf("replacing the master of %s, process %d", c.name, status.PID)
			o.done = "replaced the master of " + c.name
			return a.give(ctx, c, o, status)
		}),
	})
	o.flags(command, false)
	return command
}

func isKind(kind control.EventKind) func(control.Event) bool {
	return func(e control.Event) bool { return e.Kind == kind }
}

// nameAndNumber reads "[NAME] NUMBER".
func nameAndNumber(args []string, what string) (name string, n int, err error) {
	text := args[len(args)-1]
	n, err = strconv.Atoi(text)
	if err != nil || n < 0 {
		return "", 0, failure(codeUsage, fmt.Errorf("%q is no number: say %s", text, what))
	}
	if len(args) > 1 {
		name = args[0]
	}
	return name, n, nil
}

func (a *app) findStatus(ctx context.Context, name string) (*client, control.Status, error) {
	c, err := a.find(ctx, name)
	if err != nil {
		return nil, control.Status{}, err
	}
	status, _, err := c.status(ctx)
	return c, status, err
}

func workers(s control.Status) (n int) {
	for _, node := range s.Nodes {
		if !node.Master && node.State != control.StateDraining {
			n++
		}
	}
	return n
}

// give gives an order, and shows its progress until it is carried out.
func (a *app) give(ctx context.Context, c *client, o order, status control.Status) error {
	if o.noWait {
		if err := c.order(ctx, o, control.NoWait); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s; multinode events tells how it goes\n", o.doing)
		return nil
	}
	waiting := ctx
	if o.timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	err := a.giveAndFollow(waiting, c, o, status)
	switch {
	case o.refuseBusy && codeOf(err) == codeBusy:
		return failure(codeBusy, control.ErrBusy)
	case ctx.Err() != nil:
		return failure(codeInterrupted, fmt.Errorf("interrupted: %s goes on, multinode events tells how", o.goesOn))
	case waiting.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return failure(codeTimeout, fmt.Errorf("not done after %v: %s goes on, multinode events tells how", o.timeout, o.goesOn))
	}
	return err
}

// settle bounds the wait for the last events, which may come behind the answer.
const settle = time.Second

func (a *app) giveAndFollow(ctx context.Context, c *client, o order, status control.Status) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.events(ctx, fromNow)
	if err != nil {
		return err
	}
	defer stream.Close()
	events, result := make(chan control.Event), make(chan error, 1)
	begin := time.Now()
	w := control.Wait
	if o.refuseBusy {
		w = control.RefuseBusy
	}
	go follow(ctx, stream, events)               // ended by cancel
	go func() { result <- c.order(ctx, o, w) }() // ended by cancel

	p := progress{out: a.stdout, paint: a.paint, steps: make(map[int]*step)}
	if status.Doing != "" && !o.refuseBusy {
		fmt.Fprintf(a.stdout, "waiting for the %s that runs\n", status.Doing)
	}
	told := false // only when it is not refused
	tell := func() {
		if !told {
			told = true
			fmt.Fprintln(a.stdout, o.doing)
		}
	}
	var settled <-chan time.Time // not nil: the order is done
	ended := false
	for {
		select {
		case e, open := <-events:
			if !open {
				events = nil // the answer says why
				break
			}
			tell()
			p.add(e)
			ended = o.ends(e)
		case err := <-result:
			if err != nil {
				p.flush()
				return err
			}
			tell()
			settled, result = time.After(settle), nil
		case <-settled:
			ended = true
		}
		if settled != nil && (ended || events == nil) {
			p.flush()
			fmt.Fprintf(a.stdout, "%s in %s\n", a.paint.paint(green, o.done), took(time.Since(begin)))
			return nil
		}
	}
}
