package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/internal/rendezvous"
)

func listCommand(a *app) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the clusters of this user that run",
		Long: `Lists the clusters of this user that run in the usual places. One with a directory of its own is not found:
name it by --dir in the other commands.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error { return a.list(ctx, asJSON) }),
	}
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return command
}

// listed is a cluster in the list, as JSON.
type listed struct {
	rendezvous.Owner
	Directory string `json:"directory"`
}

func (a *app) list(ctx context.Context, asJSON bool) error {
	all := []listed{}
	for _, t := range a.places.running(ctx) {
		l := listed{t.owner(), t.dir}
		l.Cluster = t.name
		all = append(all, l)
	}
	if asJSON {
		out := json.NewEncoder(a.stdout)
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(a.stdout, "no cluster of this user runs")
		return nil
	}
	t := newTable("NAME", "ADDRESS", ">MASTER PID", ">UP", "DIRECTORY")
	for _, l := range all {
		t.add(cell{l.Cluster, bold}, cell{text: l.Address}, cell{text: strconv.Itoa(l.PID)},
			cell{text: age(l.Since, time.Now())}, cell{text: l.Directory})
	}
	t.write(a.stdout, a.paint)
	return nil
}
