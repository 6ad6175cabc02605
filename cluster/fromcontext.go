package cluster

import (
	"context"
	"net"
	"net/http"
)

// nodeKey is the key of the node in the context of a request.
type nodeKey struct{}

// FromContext returns the node that serves a request, by the context of the request or one made from it. It finds the
// node in the requests of each *http.Server that [Listen] or [Node.Serve] has got; false means that ctx is of something
// else. A request costs nothing more for it.
func FromContext(ctx context.Context) (*Node, bool) {
	n, ok := ctx.Value(nodeKey{}).(*Node)
	return n, ok
}

// provide returns a function that puts the node into the context of a server's requests. The context that the user makes for a
// listener stays below it.
func provide(n *Node) func(*http.Server) {
	return func(server *http.Server) {
		base := server.BaseContext
		server.BaseContext = func(l net.Listener) context.Context {
			ctx := context.Background()
			if base != nil {
				ctx = base(l)
			}
			return context.WithValue(ctx, nodeKey{}, n)
		}
	}
}
