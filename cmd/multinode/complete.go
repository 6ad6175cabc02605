package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster/control"
)

// completeNames offers the clusters that run, to the shell.
func (a *app) completeNames(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, t := range a.places.running(contextOf(command)) {
		all = append(all, t.name+"\tat "+t.owner().Address)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeName is completeNames for the first argument.
func (a *app) completeName(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeNames(command, args, typed)
}

// completeNameAndID offers the ids of workers, and before them the clusters if there are several.
func (a *app) completeNameAndID(command *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, status, err := a.findStatus(contextOf(command), first(args))
	if err != nil {
		return a.completeName(command, args, typed)
	}
	var all []string
	for _, n := range status.Nodes {
		if !n.Master && n.PID != 0 && n.State != control.StateDraining {
			all = append(all, strconv.Itoa(n.ID)+fmt.Sprintf("\tslot %d, %s", n.Slot, n.State))
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// contextOf returns the context of a command, which cobra does not set when it completes.
func contextOf(command *cobra.Command) context.Context {
	if ctx := command.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
