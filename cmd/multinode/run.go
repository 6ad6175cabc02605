package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/multinode-go/multinode/cluster"
)

// runOptions are the flags of multinode run.
type runOptions struct {
	nodes      int       // at least 1
	name, dir  string    // "": the default of package cluster
	stopSignal os.Signal // nil: that of the program
	program    string
	args       []string
	stdout     io.Writer
	stderr     io.Writer
}

func runCommand(a *app) *cobra.Command {
	var o runOptions
	var stopSignal string
	command := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a program in several processes, and supervise them",
		Long: `Starts PROGRAM several times and supervises the processes: what dies is started again, and reload, scale, drain, stop,
events and logs work on them. The program has to bind its port with SO_REUSEPORT.

What the processes write comes out here, each line behind "slot N | ".

Ctrl-C or SIGTERM stops them gracefully; a second one, a second later or more, ends them at once. SIGHUP is a reload. Each process of PROGRAM leads a
process group of its own, which the terminal's signals do not reach, and what it has started ends with it.

Exit code 0: stopped, and nothing is left. 1: PROGRAM cannot be run like this, or something still listens on its port when
all has ended; the text says what to do.`,
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
			var err error
			if o.stopSignal, err = parseSignal(stopSignal); err != nil {
				return failure(codeUsage, err)
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
	command.Flags().StringVar(&stopSignal, "stop-signal", "", "the `signal` that asks a process of PROGRAM to finish its "+
		"requests and end: TERM, INT, QUIT, USR1, USR2, WINCH or HUP (default: what the documentation of PROGRAM names for a graceful "+
		"stop, as QUIT for nginx; for programs that are not known, TERM)")
	_ = command.MarkFlagDirname("dir")
	return command
}

// supervise runs a program as a cluster until that has ended or ctx has, which is a graceful stop.
func supervise(ctx context.Context, o runOptions) error {
	log := new(runLog)
	node, err := cluster.Supervise(
		cluster.Options{Nodes: o.nodes, Name: o.name, Dir: o.dir, Logger: slog.New(slog.NewTextHandler(o.stderr, nil))},
		cluster.Command{Path: o.program, Args: o.args, StopSignal: o.stopSignal, Output: io.MultiWriter(o.stdout, log)},
	)
	if err != nil {
		return err
	}
	defer log.close()
	if err := log.open(node.Status().Directory); err != nil {
		fmt.Fprintln(o.stderr, "multinode: logs will not show what the program writes:", err)
	}
	if node.WaitReady(ctx) == nil {
		fmt.Fprintf(o.stderr, "%d nodes of %s ready on %s (multinode status %s)\n",
			o.nodes, o.program, node.Status().Address, node.Name())
	}
	return node.Wait()
}
