package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// app is one call of the tool.
type app struct {
	stdout, stderr io.Writer
	paint          painter // for stdout
	machine        machine // that doctor looks at
	places         places  // where clusters are looked for

	// Flags of several commands.
	name, dir string
}

// run is the program. It returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{
		stdout: stdout, stderr: stderr, paint: painter{isColourful(stdout)}, machine: thisMachine(), places: usualPlaces(),
	}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return codeDone
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(a.stderr, "multinode: %s\n", text)
	}
	code := codeOf(err)
	if code == codeUsage {
		if name := singleDashed(args); name != "" {
			fmt.Fprintf(a.stderr, "its long flags have two dashes: --%s\n", name)
		}
		fmt.Fprintf(a.stderr, "%s --help explains it\n", command.CommandPath())
	}
	return code
}

// singleDashed returns the name of a long flag that was given as the programs do that use package flag of Go, -dir for --dir.
func singleDashed(args []string) string {
	for _, arg := range args {
		name, isFlag := strings.CutPrefix(arg, "-")
		switch {
		case arg == "--":
			return ""
		case isFlag && len(name) > 1 && name[0] != '-':
			if name, _, _ = strings.Cut(name, "="); !strings.ContainsAny(name, "0123456789") { // -n4 is right
				return name
			}
		}
	}
	return ""
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "multinode",
		Short: "Show and steer the clusters of this user",
		Long: `Shows and steers the clusters of this user: services that run in several processes on one port.

Most commands take the NAME of a cluster. It can be left out when only one runs. A cluster with a directory of its own is
named by --dir DIR.
` + exitCodes,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		listCommand(a), statusCommand(a), reloadCommand(a), scaleCommand(a), drainCommand(a),
		pauseCommand(a, true), pauseCommand(a, false), takeoverCommand(a),
		stopCommand(a),
		eventsCommand(a), logsCommand(a), runCommand(a), doctorCommand(a),
	)
	return root
}

// version is that of the module, as go install has stamped it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// does makes f what a command does. An error of f is no error of usage, unless it says so.
func does(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if err := f(command.Context(), args); err != nil {
			return failure(codeOf(failure(codeFailed, err)), err)
		}
		return nil
	}
}

// takes is for commands that need arguments: cobra's own words name only their number.
func takes(least, most int, example string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("something is missing: %s, as in %s %s", command.UseLine(), command.CommandPath(), example)
		case len(args) > most:
			return fmt.Errorf("%q is one too many: %s", args[most], command.UseLine())
		}
		return nil
	}
}

// takesCluster gives a command the flags that name a cluster, beside the argument NAME.
func (a *app) takesCluster(command *cobra.Command) *cobra.Command {
	command.Flags().StringVar(&a.name, "name", "", "`NAME` of the cluster")
	command.Flags().StringVar(&a.dir, "dir", "", "rendezvous `directory` of the cluster, if it has one of its own")
	command.MarkFlagsMutuallyExclusive("name", "dir")
	_ = command.RegisterFlagCompletionFunc("name", a.completeNames)
	_ = command.MarkFlagDirname("dir")
	return command
}
