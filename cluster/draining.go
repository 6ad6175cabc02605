package cluster

import "context"

// Draining returns a context that is done when this node drains and gets no new connections: after it, or the whole cluster, was
// told to stop, or a replacement has taken over its slot. The node has left its ports by then, which takes some 20 ms, and 10 s
// at most. If connections wait because the server does not accept, the context may be done earlier. It has no deadline and no
// values, and is never nil.
//
// Ordinary handlers of an [http.Server] need not watch it: they finish, and the client is told to use another connection. It is
// for handlers that do not finish by themselves, which should return when it is done: WebSocket and other hijacked connections,
// which send a close frame first and are waited for until Options.HijackTimeout; server-sent events and long polls, which end the
// response, so that the client asks again and reaches another node. A response that was begun before the drain and has not sent
// its header yet should set Connection: close itself; the node sets it only in responses that begin later. All of them have
// Options.StopTimeout, like any request in flight.
//
// Any other server, given to [Node.Serve] or serving [Node.Listener] by itself, tells its clients now to use another connection:
// a gRPC server by GracefulStop, fasthttp by Connection: close. See docs/deploy.md and the folder examples.
func (n *Node) Draining() context.Context { return n.node.Servers.Draining() }
