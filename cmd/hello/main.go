// Hello is the smallest cluster worth trying: every node answers with its id.
//
//	go run ./cmd/hello -nodes 4
//	curl http://localhost:8080/
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cmd/internal/cli"
)

func main() { cli.Main("hello", run) }

// run is the program: it returns when the node has ended.
func run(args []string, stdout, stderr io.Writer) error {
	var level slog.LevelVar
	level.Set(slog.LevelWarn) // the start is one line; after it every event is logged
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: &level}))

	opts, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	opts.Logger = logger
	node, err := cluster.Listen(opts, &http.Server{Handler: routes()})
	if err != nil {
		return err
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Fprintf(stdout, "%d nodes ready on http://%v (master pid %d)\n", max(1, node.Status().Wanted), node.Addr(), os.Getpid())
	}
	level.Set(slog.LevelInfo)
	return node.Wait()
}

func parseFlags(args []string, stderr io.Writer) (cluster.Options, error) {
	var opts cluster.Options
	flags := flag.NewFlagSet("hello", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&opts.Addr, "addr", ":8080", "`address` to share; port 0 is one free port for all nodes")
	flags.IntVar(&opts.Nodes, "nodes", 0, "how many processes accept connections; 0 is one for each CPU")
	masterListen := flags.Bool("master-listen", false, "the master accepts too, and is not replaced when it crashes")
	flags.StringVar(&opts.Name, "name", "", "`name` of the cluster (default hello-PORT)")
	flags.StringVar(&opts.Dir, "dir", "", "rendezvous `directory` (default: one for the name, below $XDG_RUNTIME_DIR or /tmp)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return opts, err
		}
		return opts, cli.ErrUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "hello: unexpected argument %q; -h lists the flags\n", flags.Arg(0))
		return opts, cli.ErrUsage
	}
	opts.DisableMasterListen = !*masterListen // a master that only supervises can crash, and no request is lost
	if opts.Nodes == 0 {
		opts.Nodes = runtime.GOMAXPROCS(0)
	}
	return opts, nil
}

const usage = `Usage: hello [flags]

Serves HTTP from several processes on one port.

  /              says which node answers
  /sleep?d=100ms answers after that time
  /burn?d=10ms   keeps a CPU busy for that time, then answers
  /crash         ends the process that gets it, with exit code 1

SIGTERM or Ctrl-C to the master stops all nodes when their requests have finished; a second one kills them.

`
