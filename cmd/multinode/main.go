// Multinode shows and steers the clusters of this user: what runs, reload, scale, drain, stop. It talks to the master of a
// cluster over a socket in the cluster's directory; docs/cli.md describes it.
//
//	go install ./cmd/multinode
//	multinode status
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // the second signal ends the process
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
