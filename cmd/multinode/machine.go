package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/multinode-go/multinode/internal/rendezvous"
	"github.com/multinode-go/multinode/peer"
	"github.com/multinode-go/multinode/reuseport"
)

func thisMachine() machine {
	return machine{
		watch: reuseport.ProbeWatch,
		probe: reuseport.Probe,
		root:  os.Geteuid() == 0,
		checks: append([]func(context.Context) check{
			checkCPUs, checkDirectory, checkFiles,
		}, systemChecks()...),
	}
}

// checkCPUs reports how many nodes there would be.
func checkCPUs(context.Context) check {
	usable, all := runtime.GOMAXPROCS(0), runtime.NumCPU()
	text := fmt.Sprintf("%s: a cluster has %s unless it is told otherwise", plural(all, "CPU"), plural(usable, "node"))
	if usable < all {
		text = fmt.Sprintf("%d of %s may be used, by the limit of this container or GOMAXPROCS: a cluster has %s unless it is "+
			"told otherwise", usable, plural(all, "CPU"), plural(usable, "node"))
	}
	c := check{text: text}
	if usable == 1 {
		c.verdict, c.why = poor, "more than one node brings no speed here, but a crash of one does not stop the others"
	}
	return c
}

const joinTimeout = 5 * time.Second

// checkDirectory starts a cluster of one node, as to all that the nodes need of the file system, and ends it.
func checkDirectory(ctx context.Context) check {
	name := fmt.Sprintf("doctor-%d", os.Getpid())
	path, err := rendezvous.DefaultPath(name)
	if err == nil {
		err = tryDirectory(ctx, name, path)
	}
	if err != nil {
		return check{
			verdict: bad, text: "The nodes cannot meet in their directory: " + err.Error(),
			why: "mend that, or choose another directory for each cluster: option Dir, or --dir",
		}
	}
	base := filepath.Dir(path)
	const room = 107 // of the address of a socket, without its final 0 byte
	c := check{text: fmt.Sprintf("The nodes meet in %s/NAME", base)}
	if left := room - len(filepath.Join(base, masterSocket)) - 1; left < 20 {
		c.verdict = poor
		c.why = fmt.Sprintf("its path is so long that curl --unix-socket reaches only clusters whose name has up to %d "+
			"characters; a shorter directory helps:", max(0, left))
		c.commands = []string{"# export XDG_RUNTIME_DIR=/run/user/$(id -u)"}
	}
	return c
}

func tryDirectory(ctx context.Context, name, path string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	mesh, err := peer.Join(ctx, peer.Options{Directory: path, Self: peer.Info{Cluster: name, ID: 1}})
	if err != nil {
		return err
	}
	return mesh.Close()
}

// manyFiles is enough for a node with some thousand connections, each of which is a file to the kernel.
const manyFiles = 16384

func checkFiles(context.Context) check {
	limit, ok := fileLimit()
	if !ok {
		return check{text: "The number of connections of a node is not limited here"}
	}
	c := check{text: fmt.Sprintf("A node can have %d files and connections open", limit)}
	if limit < manyFiles {
		c.verdict = poor
		c.why = "a busy node needs more; in the shell, or in the unit of systemd, that starts the cluster:"
		c.commands = []string{"prlimit --pid $$ --nofile=65536:65536", "# LimitNOFILE=65536"}
	}
	return c
}
