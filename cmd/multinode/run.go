package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// runOptions is what multinode run was asked for.
type runOptions struct {
	nodes     int    // at least 1
	name, dir string // "": the default of package cluster
	program   string
	args      []string
	stdout    io.Writer
	stderr    io.Writer
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	command := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a program in several processes, and supervise them",
		Long: `Starts PROGRAM several times and supervises the processes: what dies is started again, and reload, scale, drain, stop,
events and logs work on them. The program has to bind its port with SO_REUSEPORT.

What the processes write comes out here, each line behind "slot N | ".

Ctrl-C or SIGTERM stops them gracefully; a second one ends them at once. SIGHUP is a reload.`,
		Example: "  multinode run -n 4 -- ./server -addr :8080\n  multinode run -n 4 --name web -- ./server",
		Args: func(command *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("no program: say what to run, as in %s -n 4 -- ./server", command.CommandPath())
			}
			return nil
		},
		RunE: does(func(ctx context.Context, args []string) error {
			if o.nodes < 0 {
				return failure(codeUsage, fmt.Errorf("--nodes %d: give a number from 1, or 0 for one for each CPU", o.nodes))
			}
			if o.nodes == 0 {
				o.nodes = runtime.GOMAXPROCS(0)
			}
			o.name, o.dir, o.program, o.args, o.stdout, o.stderr = a.name, a.dir, args[0], args[1:], a.stdout, a.stderr
			return supervise(ctx, o)
		}),
	}
	command.Flags().SetInterspersed(false) // the flags behind PROGRAM are its own
	command.Flags().IntVarP(&o.nodes, "nodes", "n", 0, "how many processes; 0 is one for each CPU")
	command.Flags().StringVar(&a.name, "name", "", "`NAME` of the cluster (default: that of the program)")
	command.Flags().StringVar(&a.dir, "dir", "", "rendezvous `directory` (default: one for the name)")
	_ = command.MarkFlagDirname("dir")
	return command
}

// supervise runs a program as a cluster until that has ended or ctx has, which is a graceful stop.
func supervise(context.Context, runOptions) error {
	return errors.New("run is not built into this version: start the program by itself, with package cluster")
}
