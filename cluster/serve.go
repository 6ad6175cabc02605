package cluster

import (
	"errors"
	"fmt"
	"net"
)

// Serve makes server serve the port of Options.Addr, or instead the given listeners: those of [Node.Listen] and [Node.Listener],
// also wrapped. Serve does not block: it returns when the node listens, and the server works in the background until the node
// drains.
//
// A node serves with as many servers as calls of Serve. All have the same drain, as [Server] describes it. When a server ends by
// itself the node ends, and the server's error is that of [Node.Wait]. The node is ready when the port of Options.Addr is served,
// so serve that last.
//
// Set Handler, ConnState and BaseContext of an *http.Server before Serve: it puts hooks around them, so that the node knows which
// connections are open, and handlers find the node with [FromContext].
//
// In a master that does not accept connections, and in a node that stops, Serve does nothing and returns nil. An error means that
// the server does not serve: it, or the port, has been given to Serve before, or the node could not listen.
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
