package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster/control"
)

func stopCommand(a *app) *cobra.Command {
	var timeout time.Duration
	var noWait bool
	command := a.takesCluster(&cobra.Command{
		Use:   "stop [NAME]",
		Short: "Stop a cluster gracefully, and wait until it is gone",
		Long: `Stops all nodes: requests that are being answered finish, within the stop time-out of the cluster (30 s by default), and
what has not finished then is cut. When the command is done, a new cluster of that name can start.

When a process that multinode run could not end still listens on the port, it fails and names that process.`,
		Args:              takes(0, 1, "web"),
		ValidArgsFunction: a.completeName,
		RunE: does(func(ctx context.Context, args []string) error {
			c, status, err := a.findStatus(ctx, first(args))
			if err != nil {
				return err
			}
			return a.stop(ctx, c, status, timeout, noWait)
		}),
	})
	command.Flags().DurationVar(&timeout, "timeout", time.Minute, "do not wait longer than that; the stop goes on")
	command.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is gone")
	command.MarkFlagsMutuallyExclusive("timeout", "no-wait")
	return command
}

func (a *app) stop(ctx context.Context, c *client, status control.Status, timeout time.Duration, noWait bool) error {
	begin := time.Now()
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if noWait {
		if err := c.stop(waiting); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "stopping %s\n", c.name)
		return nil
	}
	left, err := a.stopAndFollow(waiting, c, status)
	switch {
	case ctx.Err() != nil:
		return failure(codeInterrupted, errors.New("interrupted: the stop goes on"))
	case waiting.Err() != nil:
		return failure(codeTimeout, fmt.Errorf("cluster %s is still there after %v: the stop goes on; to end it at once, "+
			"send the master another signal: kill %d", c.name, timeout, status.PID))
	case err != nil:
		return err
	case len(left) > 0:
		return failure(codeFailed, fmt.Errorf("cluster %s has stopped, but %s", c.name, strings.Join(left, "\n")))
	}
	fmt.Fprintf(a.stdout, "%s in %s\n", a.paint.paint(green, "stopped "+c.name), took(time.Since(begin)))
	return nil
}

// stopAndFollow returns what the cluster has left behind.
func (a *app) stopAndFollow(ctx context.Context, c *client, status control.Status) (left []string, err error) {
	stream, err := c.events(ctx, fromNow)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if err := c.stop(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stdout, "stopping the %s of %s\n", plural(len(status.Nodes), "node"), c.name)
	for {
		e, err := stream.Next()
		if err != nil {
			break // the master has closed it, or ctx has ended
		}
		switch e.Kind {
		case control.EventLeft, control.EventDied, control.EventHung:
			fmt.Fprintf(a.stdout, "%s %s\n", who(e), sentence(e))
		case control.EventLeftBehind:
			left = append(left, e.Text)
		default:
		}
	}
	return left, awaitGone(ctx, c, status.PID)
}

const lookAgain = 20 * time.Millisecond

// awaitGone waits until the master of that pid has given up its place.
func awaitGone(ctx context.Context, c *client, pid int) error {
	for !isGone(ctx, c, pid) {
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func isGone(ctx context.Context, c *client, pid int) bool {
	conn, err := c.Dial(ctx)
	if err != nil {
		return ctx.Err() == nil && !isLocked(c.dir)
	}
	_ = conn.Close() // it carried nothing
	status, _, err := c.status(ctx)
	return err == nil && status.PID != pid // the next one is there already
}
