package load

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/bench/internal/child"
)

// runDelay is the server of checks, which sleeps for a known time in each request. It ends with its standard input.
func runDelay() error {
	var delay time.Duration
	if err := child.Task(&delay); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go endWith(os.Stdin) // until the process ends
	fmt.Println(l.Addr())
	worker, body := strconv.Itoa(os.Getpid()), []byte("hello\n")
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(delay)
		w.Header().Set("Worker", worker)
		_, _ = w.Write(body) // a client that has gone needs no answer
	}))
}
