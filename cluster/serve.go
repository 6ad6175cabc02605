package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/multinode-go/multinode/cluster/internal/serve"
)

// Server is what a node serves with. [http.Server] is one; for TLS there is [TLSServer].
//
// Serve accepts until Shutdown or until it fails. Shutdown stops accepting and waits for the requests in flight until
// ctx is done. A Server that also has Close() error is closed when Shutdown has not returned in time.
//
// When the node drains, the listener is closed first, while the server goes on with the connections that it has: Serve
// may return then or wait for Shutdown. Then [Node.Draining] is done, and clients have Options.LameDuck to end their
// connections, before Shutdown is called. What tells them to do so is the protocol's: a node knows that of HTTP as an
// *http.Server speaks it, and sends Connection: close or GOAWAY by itself. Any other Server tells its clients when
// Draining is done: docs/deploy.md shows it for gRPC, fasthttp and others. After Shutdown the node waits until the
// connections of the server's ports are closed; what is open after Options.StopTimeout is cut.
//
// A Server that serves by means of an *http.Server also has the method
//
//	HTTPServer() *http.Server
//
// so that the node finds it. Only then it can do for the clients of HTTP what it does for those of an *http.Server, and
// wait for hijacked connections.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

var _ Server = (*http.Server)(nil)

// Serve lets server serve the port of Options.Addr, or in its place the listeners that are given: those of [Node.Listen],
// [Node.Listener], and what is wrapped around them. Serve does not block: it returns when the node listens, and the server
// works in the background until the node drains.
//
// A node serves with as many servers as calls of Serve. All have the same drain, as [Server] describes it. When a server
// ends by itself the node ends, and the server's error is that of [Node.Wait]. The node is ready when the port of
// Options.Addr is served, so serve that last.
//
// Of an *http.Server, Handler, ConnState and BaseContext are to be set before: Serve puts hooks around them, so that the
// node knows which connections are open, and handlers find the node with [FromContext].
//
// In a master that does not accept connections, and in a node that stops, Serve does nothing and returns nil. An error
// means that the server does not serve: it, or the port, has been given to Serve before, or the node could not listen.
func (n *Node) Serve(server Server, listeners ...net.Listener) error {
	if err := serveBy(n, server, listeners); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

func serveBy(n *Node, server Server, listeners []net.Listener) error {
	if server == nil {
		return errors.New("serve: the server is nil")
	}
	if err := checkServer(server); err != nil {
		return err
	}
	return n.node.Serve(server, listeners)
}

// checkServer returns an error for an *http.Server that is not there, which would panic much later.
func checkServer(server Server) error {
	_, isHTTP := server.(*http.Server)
	if (isHTTP || servesTLS(server)) && serve.HTTPServer(server) == nil {
		return errors.New("the server is a nil *http.Server: pass a server, or nil to serve Node.Listener yourself")
	}
	return nil
}
