// Catalog is a shop's products over HTTP: SQLite, and before it in each node a cache that is never stale.
//
//	go run ./cmd/catalog
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
	"time"

	"github.com/multinode-go/multinode/cluster"
	"github.com/multinode-go/multinode/cmd/internal/cli"
)

func main() { cli.Main("catalog", run) }

// options are the flags.
type options struct {
	cluster      cluster.Options
	db           string
	nocache      bool
	messages     bool
	writeTimeout time.Duration
}

// run is the program: it returns when the node has ended.
func run(args []string, stdout, stderr io.Writer) (err error) {
	var level slog.LevelVar
	level.Set(slog.LevelWarn) // the start is one line; after it every event is logged
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: &level}))

	opts, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	db, err := openStore(context.Background(), opts.db)
	if err != nil {
		return err
	}
	opts.cluster.Logger = logger
	node, err := cluster.Start(context.Background(), opts.cluster)
	if err != nil {
		return errors.Join(err, db.close())
	}
	products, err := newCatalog(db, node.Bus(), opts)
	if err != nil {
		return errors.Join(err, node.Shutdown(context.Background()), db.close())
	}
	defer func() { err = errors.Join(err, products.close()) }()
	page, err := newPage()
	if err != nil {
		return errors.Join(err, node.Shutdown(context.Background()))
	}
	h := &handler{writeTimeout: opts.writeTimeout, node: node.ID(), catalog: products, page: page}
	server := &http.Server{Handler: h.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	if err := node.Serve(server); err != nil {
		return errors.Join(err, node.Shutdown(context.Background()))
	}
	if node.IsMaster() && node.WaitReady(context.Background()) == nil {
		fmt.Fprintf(stdout, "%d nodes ready: open %s (master pid %d)\n", opts.cluster.Nodes, cli.URL(node.Addr()), os.Getpid())
	}
	level.Set(slog.LevelInfo)
	return node.Wait()
}

func parseFlags(args []string, stderr io.Writer) (opts options, err error) {
	flags := flag.NewFlagSet("catalog", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&opts.cluster.Addr, "addr", ":8080", "`address` to share; port 0 is one free port for all nodes")
	flags.IntVar(&opts.cluster.Nodes, "nodes", 4, "how many processes accept connections")
	masterListen := flags.Bool("master-listen", false, "the master accepts too, and is not restarted when it dies")
	flags.StringVar(&opts.cluster.Name, "name", "", "`name` of the cluster (default catalog-PORT)")
	flags.StringVar(&opts.cluster.Dir, "dir", "", "rendezvous `directory` (default: one for the name, below $XDG_RUNTIME_DIR or /tmp)")
	flags.StringVar(&opts.db, "db", "catalog.db", "`file` of the database, on a local disk; it is made when it is not there")
	flags.BoolVar(&opts.nocache, "nocache", false, "no cache: each product is read from the database, to compare")
	flags.BoolVar(&opts.messages, "messages", false, "tell changes by messages, as where the processes cannot share memory, to compare")
	flags.DurationVar(&opts.writeTimeout, "write-timeout", 10*time.Second,
		"how long a PUT may take; another writer of the database is waited for 5s, by messages a node that hangs 2s")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return opts, err
		}
		return opts, cli.ErrUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "catalog: unexpected argument %q; -h lists the flags\n", flags.Arg(0))
		return opts, cli.ErrUsage
	}
	if opts.db == "" {
		fmt.Fprintln(stderr, "catalog: -db is empty; it must name a file")
		return opts, cli.ErrUsage
	}
	if opts.writeTimeout <= 0 {
		fmt.Fprintf(stderr, "catalog: -write-timeout is %v; it must be positive\n", opts.writeTimeout)
		return opts, cli.ErrUsage
	}
	opts.cluster.DisableMasterListen = !*masterListen
	return opts, nil
}

const usage = `Usage: catalog [flags]

Serves 1,000 products from several processes on one port. They share a database, a file of SQLite, and each keeps in its
memory what it has read. What is changed on one is new on all when the change is answered.

  GET /           a page to try it
  GET /products   a list: ?after=ID&limit=20; "next" is the ID to go on after. It is read from the database
  GET /products/7 a product: {"id":7,"name":"...","price":1999,"version":3}, the price in cents
  PUT /products/7 the same JSON. The version is the one that was read, and the answer has the next one; 0 makes a product

Headers tell which node has answered (Node, Worker: its pid), from where (Source: cache or database), and for how many
seconds the node has had the value (Value-Age). With ?close the connection is closed after the answer.

A PUT is answered with
  200, 201  when it is stored and no node has the old product any more
  400, 404  when the request is wrong (the error names the field), or there is no product with this version
  409       when the product has another version: "current" is what it is now
  503       when another process has the lock of the database for longer than 5 s: nothing was changed, ask again
  504       when -write-timeout is over while it waits for the database
After a 504 or a broken connection, read the product: its version tells whether the change was made.

What is changed is marked in memory that the nodes share, so a PUT waits for none that hangs, and one that goes on serves
nothing old. Where they cannot share memory, and with -messages, each node has to confirm the change, and one that hangs is
waited for, for 2 s at most. Only there
  200, 201  can have a header "Unconfirmed": it is stored, but the nodes that the header names may show the old product, for
            2 s at most
  503       can also mean that a node hangs for longer than -write-timeout, or while the one that is asked is new: nothing
            was changed, ask again

SIGTERM or Ctrl-C to the master stops all nodes when their requests have finished; a second one kills them.

`
