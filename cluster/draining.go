package cluster

import "context"

// Draining returns a context that is done when this node drains and gets no new connections any more: after it, or the
// whole cluster, was told to stop, or a replacement has taken over its slot. The node has left its ports by then, which
// takes some 20 ms, and 10 s at most; connections that wait while the server does not accept let it be done earlier. It has
// no deadline and no values, and is never nil.
//
// Ordinary handlers of an [http.Server] need not look at it: they finish, and the client is told to use another
// connection. It is for those that would not finish by themselves, and that return when it is done: WebSocket and other
// hijacked connections, which send a close frame first and are waited for until Options.HijackTimeout; server-sent events
// and long polls, which end the response, so that the client asks again and comes to another node. A response that was
// begun before the drain and has not sent its header yet should say Connection: close by itself; the node says it only in
// those that begin later. They have Options.StopTimeout, as all requests in flight have.
//
// Any other server, one given to [Node.Serve] or one that serves [Node.Listener] by itself, tells its clients now to go
// elsewhere: that of gRPC by GracefulStop, those of fasthttp by Connection: close. See docs/deploy.md and the folder
// examples.
func (n *Node) Draining() context.Context { return n.node.Servers.Draining() }
