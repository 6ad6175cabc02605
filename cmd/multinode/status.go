package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster/control"
)

func statusCommand(a *app) *cobra.Command {
	var asJSON, watch bool
	command := a.takesCluster(&cobra.Command{
		Use:   "status [NAME]",
		Short: "Show a cluster and its nodes",
		Long: `Shows a cluster and its nodes:

  SLOT      place of a node, which its replacement takes over; 0 is the master
  ID        unique; a replacement has another one
  GEN       how often the slot has been filled
  SINCE     how long the node is in its state
  RESTARTS  of the slot, those that nobody has asked for
  CONNS     connections that are open
  REQS      requests that are being answered
  QUEUE     connections that wait to be accepted, of so many that can
  WEIGHT    share of the new connections, where they are steered
  LAST EXIT how the node before in the slot has ended
`,
		Args:              takes(0, 1, "web"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := a.find(ctx, first(args))
			if err != nil {
				return err
			}
			if watch {
				return a.watchStatus(ctx, c, asJSON)
			}
			return a.showStatus(ctx, c, a.stdout, asJSON)
		}),
	})
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON, as the master says it")
	command.Flags().BoolVarP(&watch, "watch", "w", false, "again each second, until Ctrl-C")
	return command
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (a *app) showStatus(ctx context.Context, c *client, out io.Writer, asJSON bool) error {
	status, raw, err := c.status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = out.Write(raw)
		return err
	}
	writeStatus(out, a.paint, status, time.Now())
	return nil
}

const watchInterval = time.Second

// watchStatus shows the status until ctx ends, as its user wants. A master that goes may come back.
func (a *app) watchStatus(ctx context.Context, c *client, asJSON bool) error {
	if err := a.showStatus(ctx, c, io.Discard, asJSON); err != nil {
		return err // there is nothing to watch
	}
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	redraw := isTerminal(a.stdout)
	for {
		var page bytes.Buffer
		if err := a.showStatus(ctx, c, &page, asJSON); err != nil {
			page.Reset()
			fmt.Fprintln(&page, err)
		}
		if ctx.Err() == nil {
			if err := a.writePage(page.String(), redraw, asJSON); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// writePage writes over the page before, line by line, so that it does not flicker; or below it.
func (a *app) writePage(page string, redraw, asJSON bool) error {
	const home, endOfLine, endOfScreen = "\x1b[H", "\x1b[K", "\x1b[J"
	if redraw {
		page = home + strings.ReplaceAll(page, "\n", endOfLine+"\n") + endOfScreen
	} else if !asJSON {
		page += "\n"
	}
	_, err := io.WriteString(a.stdout, page)
	return err
}

func writeStatus(out io.Writer, p painter, s control.Status, now time.Time) {
	fmt.Fprintf(out, "%s at %s: %s, master pid %d, up %s\n",
		p.paint(bold, s.Cluster), s.Address, plural(accepting(s), "node"), s.PID, age(s.Since, now))
	if have := accepting(s); have != s.Wanted {
		fmt.Fprintln(out, p.paint(yellow, fmt.Sprintf("%d of %d nodes accept connections", have, s.Wanted)))
	}
	if s.Doing != "" {
		fmt.Fprintln(out, p.paint(yellow, "busy with: "+s.Doing))
	}
	fmt.Fprintln(out)
	writeNodes(out, p, s.Nodes, now)
	fmt.Fprintln(out)
	writeSteering(out, p, s.Steering, now)
}

func accepting(s control.Status) (n int) {
	for _, node := range s.Nodes {
		if node.Accepts && (node.State == control.StateReady || node.State == control.StateSuspect) {
			n++
		}
	}
	return n
}

func writeNodes(out io.Writer, p painter, nodes []control.NodeStatus, now time.Time) {
	t := newTable(">SLOT", ">ID", ">GEN", ">PID", "STATE", ">SINCE", ">RESTARTS", ">CONNS", ">REQS", ">QUEUE", ">WEIGHT",
		"LAST EXIT")
	for _, n := range nodes {
		state := string(n.State)
		if n.Master {
			state += " (master)"
		}
		restarts := cell{text: strconv.Itoa(n.Restarts)}
		if n.Restarts > 0 {
			restarts.colour = yellow
		}
		t.add(cell{text: strconv.Itoa(n.Slot)}, cell{text: strconv.Itoa(n.ID)}, cell{text: strconv.Itoa(n.Generation)},
			cell{text: orDash(n.PID != 0, strconv.Itoa(n.PID))}, cell{state, stateColour(n.State)},
			cell{text: age(n.Since, now)}, restarts,
			cell{text: orDash(n.Accepts, strconv.Itoa(n.Connections))}, cell{text: orDash(n.Accepts, strconv.Itoa(n.Requests))},
			queue(n), cell{text: orDash(n.Weight > 0, fmt.Sprintf("%.0f%%", n.Weight))}, cell{text: n.LastExit})
	}
	t.write(out, p)
}

func orDash(known bool, text string) string {
	if !known {
		return "-"
	}
	return text
}

func queue(n control.NodeStatus) cell {
	if !n.Accepts || n.QueueLimit == 0 { // it has not reported yet
		return cell{text: "-"}
	}
	c := cell{text: fmt.Sprintf("%d/%d", n.Queue, n.QueueLimit)}
	if n.Queue > n.QueueLimit/2 {
		c.colour = red // what comes is about to be dropped
	}
	return c
}

func stateColour(s control.State) string {
	switch s {
	case control.StateReady:
		return green
	case control.StateHung, control.StateLooping:
		return red
	default:
		return yellow
	}
}

func writeSteering(out io.Writer, p painter, s control.Steering, now time.Time) {
	if s.Level == "" {
		return
	}
	fmt.Fprintf(out, "steering: %s\n  %s\n", p.paint(bold, s.Level), s.Promise)
	switch s.Sharing {
	case "exclusive":
		fmt.Fprintln(out, "  nodes accept from each other's queues: the kernel wakes one that is idle")
	case "polling":
		fmt.Fprintln(out, "  nodes accept from each other's queues: they look when they accept (multinode doctor says why)")
	}
	switch {
	case s.Contested:
		fmt.Fprintln(out, p.paint(red, "  another process of this user replaces the program that steers: who gets which part is not known"))
	case !s.Known && s.Level != "hash":
		fmt.Fprintln(out, "  at the moment it is not certain which node is which to the kernel: those that are not known get nothing, "+
			"or the kernel's hash decides")
	}
	if s.Doing != "" {
		fmt.Fprintf(out, "  %s, for %s\n", s.Doing, age(s.Since, now))
	}
	for _, advice := range s.Advice {
		fmt.Fprintf(out, "  better: %s\n", advice.Gives)
		if advice.Command != "" {
			fmt.Fprintf(out, "    %s\n", advice.Command)
		}
	}
	for _, stranger := range s.Strangers {
		fmt.Fprintln(out, p.paint(red, "stranger: "+strange(stranger)))
	}
}

func strange(s control.Stranger) string {
	who := "a process of this user that is no node"
	if s.PID != 0 {
		who = fmt.Sprintf("process %d", s.PID)
		if s.Program != "" {
			who += " (" + s.Program + ")"
		}
		who += ", which is no node,"
	}
	text := fmt.Sprintf("%s listens on %s", who, s.Address)
	if s.Joins > 1 {
		text += fmt.Sprintf(", and was seen to join %d times", s.Joins)
	}
	if s.Steers {
		text += ", and has taken connections by a program of its own"
	}
	if s.PID != 0 {
		text += fmt.Sprintf(": kill %d, unless you want it", s.PID)
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
