package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tellApart is a program whose nodes print which errors they get.
func tellApart() error {
	opts, _ := options()
	n, err := Listen(opts, new(http.Server))
	if err != nil {
		return err
	}
	if n.IsMaster() {
		return waitTelling(n)
	}
	fmt.Println("reload", errors.Is(n.Reload(context.Background()), ErrNotMaster))
	err = n.Wait()
	fmt.Println("wait", errors.Is(err, ErrOrphaned))
	_, err = n.Listen(context.Background(), "tcp", "127.0.0.1:0")
	fmt.Println("listen", err != nil)
	return nil
}

func TestErrorsOfAWorkerAreToldApart(t *testing.T) {
	c := run(t, "errors", programOptions{Nodes: 2, OrphanTimeout: 10 * time.Millisecond})
	assert.Equal(t, "true", c.printed(t, "reload", 1))
	c.ready(t)
	require.NoError(t, syscall.Kill(c.cmd.Process.Pid, syscall.SIGKILL))
	assert.Equal(t, "true", c.printed(t, "wait", 1))
	assert.Equal(t, "true", c.printed(t, "listen", 1))
}

// TestListenWhileTheNodeStops: the order arrives while a request in flight keeps the node from ending.
func TestListenWhileTheNodeStops(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	n, err := Listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Dir: ownDir(t)}, &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(began); <-finish }),
	})
	require.NoError(t, err)
	require.NoError(t, n.WaitReady(t.Context()))
	go http.Get("http://" + n.Addr().String()) // ends with the request
	<-began
	n.node.Stop(nil, patience)
	_, err = n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.ErrorIs(t, err, ErrStopping)
	require.ErrorIs(t, n.Reload(t.Context()), ErrStopping)
	close(finish)
	assert.NoError(t, n.Wait())
}
