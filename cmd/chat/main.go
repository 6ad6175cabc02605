// Chat is a conversation over all nodes: each of them serves the page, and what is said on one is seen on all.
//
//	go run ./cmd/chat
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cmd/internal/cli"
)

func main() { cli.Main("chat", run) }

// run is the program: it returns when the node has ended.
func run(args []string, stdout, stderr io.Writer) error {
	var level slog.LevelVar
	level.Set(slog.LevelWarn) // the start is one line; after it every event is logged
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: &level}))

	opts, keep, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	opts.Logger = logger
	node, err := cluster.Start(context.Background(), opts)
	if err != nil {
		return err
	}
	h, stop, err := open(node, keep)
	if err != nil {
		return errors.Join(err, node.Shutdown(context.Background()))
	}
	defer stop()
	// The browsers connect to other nodes, since this one has left the port by then.
	context.AfterFunc(node.Draining(), func() { _ = h.room.close(context.Background()) }) // Shutdown waits for its end
	if err := node.Serve(newServer(h)); err != nil {
		return errors.Join(err, node.Shutdown(context.Background()))
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Fprintf(stdout, "%d nodes ready: open %s in two windows (master pid %d)\n", opts.Nodes, cli.URL(node.Addr()), os.Getpid())
	}
	level.Set(slog.LevelInfo)
	return node.Wait()
}

// open opens the room of a node, with what the other nodes have.
func open(node *cluster.Node, keep int) (h *handler, stop func(), err error) {
	page, err := newPage(node.ID(), keep)
	if err != nil {
		return nil, nil, err
	}
	room := newRoom(node.ID(), keep)
	relay, err := newRelay(context.Background(), room, node.Mesh(), node.Bus())
	if err != nil {
		return nil, nil, err
	}
	return &handler{room: room, relay: relay, page: page}, relay.close, nil
}

// maxKeep bounds -history: each browser and node that comes tells what it has of it, in one message.
const maxKeep = 10_000

func parseFlags(args []string, stderr io.Writer) (opts cluster.Options, keep int, err error) {
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&opts.Addr, "addr", ":8080", "`address` to share; port 0 is one free port for all nodes")
	flags.IntVar(&opts.Nodes, "nodes", 4, "how many processes accept connections")
	masterListen := flags.Bool("master-listen", false, "the master accepts too, and is not restarted when it dies")
	flags.StringVar(&opts.Name, "name", "", "`name` of the cluster (default chat-PORT)")
	flags.StringVar(&opts.Dir, "dir", "", "rendezvous `directory` (default: one for the name, below $XDG_RUNTIME_DIR or /tmp)")
	flags.IntVar(&keep, "history", 1000, "how many messages are kept, on each node")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return opts, 0, err
		}
		return opts, 0, cli.ErrUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "chat: unexpected argument %q; -h lists the flags\n", flags.Arg(0))
		return opts, 0, cli.ErrUsage
	}
	if keep < 1 || keep > maxKeep {
		fmt.Fprintf(stderr, "chat: -history is %d; it must be 1 to %d\n", keep, maxKeep)
		return opts, 0, cli.ErrUsage
	}
	opts.DisableMasterListen = !*masterListen
	return opts, keep, nil
}

const usage = `Usage: chat [flags]

Serves a chat from several processes on one port. Open the page in two windows: most likely they are on different nodes,
which the page shows beside each message, and what is written in one is in both.

Then take a node away, with the command that the page shows, or

  kill -9 PID    where PID is what curl http://localhost:8080/node tells

Its browsers come back on another node, a new node takes its place, and no message that has its tick is lost: a message is
acknowledged when every node that lives has it. A node that starts fetches the history from the others before it serves.

The history is in the memory of the nodes only: it survives each of them, and ends with the last one.

  /       the page
  /node   id and pid of the node that answers, as JSON

SIGTERM or Ctrl-C to the master stops all nodes; to another one, it sends its browsers to other nodes first.

`
