package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster/control"
)

func eventsCommand(a *app) *cobra.Command {
	var asJSON, all bool
	var after int
	command := a.takesCluster(&cobra.Command{
		Use:               "events [NAME]",
		Short:             "Show what happens in a cluster, as it happens",
		Long:              `Shows what happens in a cluster until Ctrl-C, or until the cluster stops (exit code 3).`,
		Args:              takes(0, 1, "web"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := a.find(ctx, first(args))
			if err != nil {
				return err
			}
			if all {
				after = 0
			}
			return a.events(ctx, c, after, asJSON)
		}),
	})
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON, one event in a line")
	command.Flags().BoolVar(&all, "all", false, "begin with those that the master remembers, at most 1,000")
	command.Flags().IntVar(&after, "after", fromNow, "begin behind the event of that `number`, its \"seq\" in JSON")
	command.MarkFlagsMutuallyExclusive("all", "after")
	return command
}

const reconnectDelay = 100 * time.Millisecond

// events shows events until ctx ends, as its user wants, or until the master ends.
func (a *app) events(ctx context.Context, c *client, after int, asJSON bool) error {
	for {
		stream, err := c.events(ctx, after)
		if err != nil {
			return endOfEvents(ctx, c, err)
		}
		last, err := a.showEvents(stream, asJSON)
		if err != nil {
			return errors.Join(err, stream.Close())
		}
		if err := stream.Close(); err != nil || ctx.Err() != nil {
			return err
		}
		if last > 0 {
			after = last
		}
		select { // we were too slow, or the master is about to go
		case <-time.After(reconnectDelay):
		case <-ctx.Done():
		}
	}
}

func endOfEvents(ctx context.Context, c *client, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // its user has seen enough
	}
	if codeOf(err) == codeNotRunning {
		return failure(codeNotRunning, fmt.Errorf("cluster %s has stopped", c.name))
	}
	return err
}

// showEvents shows a stream to its end and returns the number of its last event.
func (a *app) showEvents(stream *control.EventStream, asJSON bool) (last int, err error) {
	for {
		e, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		text := stream.JSON()
		if !asJSON {
			text = a.line(e)
		}
		if _, err := fmt.Fprintln(a.stdout, text); err != nil {
			return last, err
		}
		last = e.Seq
	}
}

// line is an event for people.
func (a *app) line(e control.Event) string {
	colour := ""
	switch e.Kind {
	case control.EventDied, control.EventHung, control.EventFailed, control.EventStranger, control.EventLeftBehind:
		colour = red
	case control.EventSuspect:
		colour = yellow
	case control.EventReady, control.EventReloaded, control.EventScaled, control.EventHandedOver:
		colour = green
	default:
	}
	const clock = "15:04:05.000"
	return fmt.Sprintf("%s  %-16s  %s", a.paint.paint(faint, e.Time.Local().Format(clock)), who(e),
		a.paint.paint(colour, sentence(e)))
}

// who names the node of an event.
func who(e control.Event) string {
	switch e.Kind {
	case control.EventReloading, control.EventReloaded, control.EventScaling, control.EventScaled, control.EventFailed,
		control.EventHandingOver, control.EventHandedOver, control.EventStopping, control.EventLeftBehind:
		return "cluster"
	default:
	}
	if e.ID < 0 {
		return "cluster"
	}
	return fmt.Sprintf("slot %d: node %d", e.Slot, e.ID)
}

// sentence says what has happened.
func sentence(e control.Event) string {
	words := map[control.EventKind]string{
		control.EventStarted: "was started", control.EventReady: "is ready " + after(e),
		control.EventSuspect: "does not answer", control.EventTrusted: "answers again",
		control.EventHung:     "hangs, and is being ended",
		control.EventDraining: "was told to leave", control.EventDrained: "is drained " + in(e),
		control.EventLeft: "has left " + after(e), control.EventDied: "has died",
		control.EventAdopted: "was taken over by a new master", control.EventStranger: "a process that is no node listens on the port",
		control.EventReloading: "reload begins", control.EventReloaded: "reload is done " + in(e),
		control.EventHandingOver: "takeover begins", control.EventHandedOver: fmt.Sprintf("process %d is the master now", e.PID),
		control.EventScaling: "scale begins", control.EventScaled: "scale is done " + in(e),
		control.EventPaused: "is paused", control.EventResumed: "is resumed",
		control.EventFailed: "it failed " + after(e), control.EventStopping: "stop begins",
		control.EventLeftBehind: "something is left behind",
	}
	text := words[e.Kind]
	if text == "" {
		text = string(e.Kind) // of a master that knows more than we
	}
	text = strings.TrimSpace(text)
	if e.Kind == control.EventStarted && e.PID != 0 {
		text += fmt.Sprintf(" as process %d", e.PID)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

func after(e control.Event) string { return span("after", e) }
func in(e control.Event) string    { return span("in", e) }

func span(word string, e control.Event) string {
	if e.Took == 0 {
		return ""
	}
	return word + " " + took(e.Took)
}
