package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/control"
	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
)

// moment bounds a wait that is to fail.
const moment = 50 * time.Millisecond

const goVariable = "MULTINODE_TEST_GO" // names a file for which the workers wait before they serve

// startThenServe makes a node, prepares for a long time, and serves then.
func startThenServe() error {
	opts, _ := options()
	n, err := Start(context.Background(), opts)
	if err != nil {
		return err
	}
	fmt.Println("started", n.Slot(), n.Addr())
	for !n.IsMaster() {
		if _, err := os.Stat(os.Getenv(goVariable)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	told := make(chan *Node, 1)
	told <- n
	if err := n.Serve(&http.Server{Handler: handlerOf(told)}); err != nil {
		return err
	}
	return waitTelling(n)
}

// TestNoConnectionBeforeServe: a worker that still prepares has no part of the port, also where the kernel's hash decides.
func TestNoConnectionBeforeServe(t *testing.T) {
	for _, steering := range []string{"hash", ""} {
		t.Run(steering, func(t *testing.T) {
			serve := filepath.Join(t.TempDir(), "go")
			c := run(t, "start", programOptions{Nodes: 3, Steering: steering}, goVariable+"="+serve)
			addrs := make(map[string]string)
			for nth := range 3 {
				var slot, addr string
				_, err := fmt.Sscan(c.printed(t, "started", nth+1), &slot, &addr)
				require.NoError(t, err)
				addrs[slot] = addr
			}
			require.Len(t, addrs, 3)
			addr := addrs["0"]
			assert.Equal(t, addr, addrs["1"], "all know the port before they listen")
			assert.Equal(t, addr, addrs["2"], "all know the port before they listen")
			require.Eventually(t, func() bool {
				_, err := get(addr, "/")
				return err == nil
			}, patience, time.Millisecond, "the master serves")
			for range 100 {
				a, err := get(addr, "/")
				require.NoError(t, err)
				require.Zero(t, a.Slot)
			}
			require.NoError(t, os.WriteFile(serve, nil, 0o600))
			c.ready(t)
			survey(t, addr, 3)
			c.signal(t, syscall.SIGTERM)
			code, stderr := c.exit(t)
			assert.Zero(t, code, stderr)
		})
	}
}

// TestStopBeforeServe: a stop while the program prepares is no error.
func TestStopBeforeServe(t *testing.T) {
	serve := filepath.Join(t.TempDir(), "go")
	c := run(t, "start", programOptions{Nodes: 2, DisableMasterListen: true}, goVariable+"="+serve)
	c.printed(t, "started", 3)
	c.signal(t, syscall.SIGTERM)
	c.told(t, control.EventStopping, 1)
	require.NoError(t, os.WriteFile(serve, nil, 0o600))
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
	assert.NotContains(t, stderr, `"level":"WARN"`)
	c.gone(t)
}

// TestHandOverBeforeServe: a master that hands over before it has served keeps no caller waiting.
func TestHandOverBeforeServe(t *testing.T) {
	n := startOne(t, Options{})
	n.node.Supervise() // as a reload does, which starts a worker: this program is none
	n.node.MarkServing()
	require.NoError(t, n.Serve(new(http.Server)))
	require.NoError(t, n.WaitReady(t.Context()))
	accepted := make(chan error, 1)
	go func() { // ends with the node
		_, err := n.Listener().Accept()
		accepted <- err
	}()
	select {
	case err := <-accepted:
		require.Fail(t, "the program would take it for the end", "%v", err)
	case <-time.After(moment):
	}
	require.NoError(t, n.Shutdown(t.Context()))
	assert.ErrorIs(t, <-accepted, net.ErrClosed)
}

// startOne starts a cluster of this process alone, which ends with the test.
func startOne(t *testing.T, opts Options) *Node {
	t.Helper()
	opts.Addr, opts.Nodes, opts.Dir = "127.0.0.1:0", 1, ownDir(t)
	n, err := Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	return n
}

func TestStartIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := ownDir(t)
	_, err := Start(ctx, Options{Addr: "127.0.0.1:0", Nodes: 2, Dir: dir})
	require.ErrorIs(t, err, context.Canceled)
	assert.NoDirExists(t, dir)
	n := startOne(t, Options{})
	assert.NoError(t, n.Shutdown(t.Context()), "another Start is possible")
}

// TestAllServersHaveTheSameDrain has two servers, one of them on two ports.
func TestAllServersHaveTheSameDrain(t *testing.T) {
	n := startOne(t, Options{})
	more, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	third, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	began := make(chan struct{}, 3)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sleep":
			began <- struct{}{}
			<-n.Draining().Done()
		case "/hijack":
			conn, err := servetest.Hijack(w)
			if !assert.NoError(t, err) {
				return
			}
			began <- struct{}{}
			<-n.Draining().Done()
			_, err = io.WriteString(conn, "goodbye")
			assert.NoError(t, errors.Join(err, conn.Close()))
			return
		}
		servetest.Echo(w, r)
	})
	require.NoError(t, n.Serve(&http.Server{Handler: handler}, more, servetest.NewLimitListener(third, 10)))
	require.NoError(t, n.Serve(&http.Server{Handler: handler}))
	require.NoError(t, n.WaitReady(t.Context()))

	var clients sync.WaitGroup
	for _, addr := range []net.Addr{n.Addr(), more.Addr(), third.Addr()} {
		idle, taken := dialTo(t, addr), dialTo(t, addr)
		_, err := servetest.Exchange(idle, "/before")
		require.NoError(t, err)
		_, err = io.WriteString(taken, "GET /hijack HTTP/1.1\r\nHost: town\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		require.NoError(t, err)
		<-began
		clients.Go(func() {
			_, err := servetest.Exchange(dialTo(t, addr), "/sleep")
			assert.NoError(t, err, "in flight")
		})
		<-began
		clients.Go(func() {
			<-n.Draining().Done()
			response, err := servetest.Exchange(idle, "/after")
			if assert.NoError(t, err, "idle") {
				assert.True(t, response.Close)
			}
			rest, _ := io.ReadAll(taken)
			assert.Contains(t, string(rest), "goodbye")
		})
	}
	connections, requests := n.node.Servers.Load()
	assert.Equal(t, 6, connections)
	assert.Equal(t, 6, requests)
	require.NoError(t, n.Shutdown(t.Context()))
	clients.Wait()
}

func dialTo(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Error(err) // also in a goroutine
		return nil
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// brokenServer cannot serve.
type brokenServer struct{ err error }

func (s brokenServer) Serve(net.Listener) error { return s.err }

func (brokenServer) Shutdown(context.Context) error { return nil }

func TestAnyServerThatEndsEndsTheNode(t *testing.T) {
	n := startOne(t, Options{})
	more, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	broken := errors.New("broken")
	require.NoError(t, n.Serve(new(http.Server)))
	require.NoError(t, n.Serve(brokenServer{broken}, more))
	require.ErrorIs(t, n.Wait(), broken)
	assert.ErrorContains(t, n.Wait(), more.Addr().String())
}

func TestServeWhatIsServed(t *testing.T) {
	n := startOne(t, Options{})
	more, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := new(http.Server)
	require.ErrorContains(t, n.Serve(nil), "the server is nil")
	require.ErrorContains(t, n.Serve((*http.Server)(nil)), "nil *http.Server")
	require.NoError(t, n.Serve(server))
	require.ErrorContains(t, n.Serve(server, more), "pass all its listeners to one call of Serve")
	require.ErrorContains(t, n.Serve(new(http.Server)), n.Addr().String()+" has a server")
	require.ErrorContains(t, n.Serve(new(http.Server), n.Listener()), "Node.Listen")
	require.NoError(t, n.WaitReady(t.Context()), "the first one serves")
	require.NoError(t, n.Shutdown(t.Context()))
	assert.NoError(t, n.Serve(new(http.Server), more), "it has stopped: Wait says why")
}

// TestServeInAMasterThatOnlySupervises does nothing, so that all nodes can run the same lines.
func TestServeInAMasterThatOnlySupervises(t *testing.T) {
	c := run(t, "start", programOptions{Nodes: 2, DisableMasterListen: true}, goVariable+"=/")
	addr := c.ready(t)
	assert.NotContains(t, survey(t, addr, 2), 0)
	c.signal(t, syscall.SIGTERM)
	code, stderr := c.exit(t)
	assert.Zero(t, code, stderr)
}

type userKey struct{}

func TestFromContext(t *testing.T) {
	_, ok := FromContext(t.Context())
	assert.False(t, ok)
	certFile, keyFile, roots := servetest.Certificate(t)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			n := startOne(t, Options{})
			listener := make(chan net.Listener, 1)
			server := &http.Server{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					node, ok := FromContext(r.Context())
					fmt.Fprint(w, ok, node.ID(), r.Context().Value(userKey{}), r.Proto)
				}),
				BaseContext: func(l net.Listener) context.Context {
					listener <- l
					return context.WithValue(context.Background(), userKey{}, "user")
				},
			}
			require.NoError(t, n.Serve(TLSServer{Server: server, CertFile: certFile, KeyFile: keyFile}))
			tr := &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: "town"},
				ForceAttemptHTTP2: protocol == "HTTP/2.0",
			}
			defer tr.CloseIdleConnections()
			response, err := (&http.Client{Transport: tr}).Get("https://" + n.Addr().String())
			require.NoError(t, err)
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint(true, n.ID(), "user", protocol), string(body))
			assert.NotNil(t, <-listener)
			require.NoError(t, n.Shutdown(t.Context()))
		})
	}
}

// TestListenServesAtOnce: a handler finds its node before Listen has returned.
func TestListenServesAtOnce(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := taken.Addr().String()
	require.NoError(t, taken.Close())
	asked := make(chan string, 1)
	go func() {
		for {
			response, err := http.Get("http://" + addr)
			if err != nil {
				continue
			}
			body, err := io.ReadAll(response.Body)
			asked <- fmt.Sprint(string(body), err, response.Body.Close())
			http.DefaultClient.CloseIdleConnections()
			return
		}
	}()
	n, err := Listen(Options{Addr: addr, Nodes: 1, Dir: ownDir(t)}, &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			node, _ := FromContext(r.Context())
			fmt.Fprint(w, node.Addr())
		}),
	})
	require.NoError(t, err)
	defer n.Shutdown(context.Background())
	assert.Equal(t, fmt.Sprint(addr, nil, nil), <-asked)
}

// TestTheQueueBelowAFullLimit: a connection waits while a handler that ends with Draining has the only place.
func TestTheQueueBelowAFullLimit(t *testing.T) {
	n := startOne(t, Options{AcceptPauses: true})
	began := make(chan struct{}, 2)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-n.Draining().Done()
		servetest.Echo(w, r)
	})}
	require.NoError(t, n.Serve(servetest.LimitedServer{Server: server}))
	first, second := dialTo(t, n.Addr()), dialTo(t, n.Addr())
	answers := make(chan error, 2)
	ask := func(conn net.Conn) {
		_, err := servetest.Exchange(conn, "/")
		answers <- errors.Join(err, conn.Close())
	}
	go ask(first)
	<-began
	go ask(second)
	require.NoError(t, n.Shutdown(t.Context()))
	require.NoError(t, <-answers)
	assert.NoError(t, <-answers, "it waited in the queue")
}

// TestOwnConnectionsAreWaitedFor: Shutdown returns when the program has closed what it has accepted by itself.
func TestOwnConnectionsAreWaitedFor(t *testing.T) {
	n := startOne(t, Options{})
	conns := make(chan net.Conn, 2)
	l := n.Listener()
	go func() { // ends with the node
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	first, second := dialTo(t, n.Addr()), dialTo(t, n.Addr())
	ours := []net.Conn{<-conns, <-conns}
	require.IsType(t, new(net.TCPConn), ours[0])
	ended := make(chan error, 1)
	go func() { ended <- n.Shutdown(context.Background()) }()
	<-n.Draining().Done()
	for i, conn := range []net.Conn{first, second} {
		select {
		case err := <-ended:
			require.Fail(t, "a connection is open", "%v", err)
		case <-time.After(moment):
		}
		_, err := fmt.Fprintln(ours[i], "goodbye")
		require.NoError(t, errors.Join(err, ours[i].Close()))
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "goodbye\n", line)
	}
	assert.NoError(t, <-ended)
}

func TestOwnConnectionsThatNeverEnd(t *testing.T) {
	n := startOne(t, Options{StopTimeout: moment})
	l := n.Listener()
	dialTo(t, n.Addr())
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	err = n.Shutdown(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "1 connections to ["+n.Addr().String()+"] were still open")
}
