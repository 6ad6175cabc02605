//go:build unix

package cluster_test

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/multinode-go/multinode/cluster"
)

// The program keeps SIGHUP for itself, to read its configuration again. It gets the signal in master and workers, to each
// process that is sent one. SIGTERM and Ctrl-C still stop all nodes gracefully, and a reload is still to be had by
// Node.Reload, `multinode reload` and the control API.
func ExampleOptions_leaveSignals() {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before Listen, so that none is missed

	node, err := cluster.Listen(cluster.Options{
		Addr: "127.0.0.1:0", Nodes: 1,
		LeaveSignals: []os.Signal{syscall.SIGHUP},
	}, &http.Server{})
	if err != nil {
		log.Fatal(err)
	}
	configured := make(chan struct{})
	go func() {
		for range hangups {
			fmt.Println("reading the configuration again")
			close(configured)
		}
	}()

	// The operator: kill -HUP PID, and then kill PID.
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		log.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		log.Fatal(err)
	}
	<-configured
	signal.Stop(hangups)
	close(hangups)
	if err := self.Signal(syscall.SIGTERM); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ended:", node.Wait())
	// Output:
	// reading the configuration again
	// ended: <nil>
}
