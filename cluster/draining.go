package cluster

import "context"

// Draining returns a context that is done as soon as this node drains: when it, or the whole cluster, is told to stop,
// and when a replacement takes over its slot. It has no deadline and no values, and is never nil.
//
// Ordinary handlers need not look at it: they finish, and the client is told to use another connection. It is for those
// that would not finish by themselves, and that return when it is done: WebSocket and other hijacked connections, which
// send a close frame first and are waited for until Options.HijackTimeout; server-sent events and long polls, which end
// the response, so that the client asks again and comes to another node. A response that was begun before the drain and has
// not sent its header yet should say Connection: close by itself; the node says it only in those that begin later. They have Options.StopTimeout, as all requests
// in flight have. For a connection that a handler leaves to another goroutine when it returns, nobody waits.
//
// For a [Server] that is not an [http.Server], and for a program that serves [Node.Listener] by itself, this is the event
// that says: the node is leaving, begin to send your clients elsewhere. New connections still come for a moment, until the
// listener is closed.
func (n *Node) Draining() context.Context { return n.service.draining() }
