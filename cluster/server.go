package cluster

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/multinode-go/multinode/cluster/internal/serve"
)

// Server is a server that a node runs. [http.Server] is one; for TLS there is [TLSServer].
//
// Serve accepts until Shutdown or until it fails. Shutdown stops accepting and waits for the requests in flight until ctx is
// done. A Server that also has Close() error is closed when Shutdown has not returned in time.
//
// When the node drains, the listener is closed first, while the server continues with its connections: Serve may return then or
// wait for Shutdown. Then [Node.Draining] is done, and clients have Options.LameDuck to end their connections, before Shutdown is
// called. How clients learn that depends on the protocol. For an *http.Server the node does it: it sends Connection: close or
// GOAWAY. Any other Server tells its clients when Draining is done: docs/deploy.md shows it for gRPC, fasthttp and others. After
// Shutdown the node waits until the connections of the server's ports are closed; what is open after Options.StopTimeout is cut.
//
// A Server that serves by means of an *http.Server also has the method
//
//	HTTPServer() *http.Server
//
// so that the node finds it. Only then the node can inform HTTP clients of a drain, and wait for hijacked connections, as it does
// for an *http.Server.
type Server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

var _ Server = (*http.Server)(nil)

// TLSServer serves HTTPS with an [http.Server], which it is in everything else.
//
// CertFile and KeyFile are as in [http.Server.ServeTLS]; they stay empty where the server's TLSConfig has certificates
// or gets them.
//
//	server := &http.Server{Addr: ":https", Handler: handler}
//	node, err := cluster.Listen(cluster.Options{}, cluster.TLSServer{Server: server, CertFile: "cert.pem", KeyFile: "key.pem"})
type TLSServer struct {
	*http.Server

	CertFile, KeyFile string
}

var _ Server = TLSServer{}

// Serve accepts on l and serves each connection with TLS, until Shutdown or Close.
func (s TLSServer) Serve(l net.Listener) error { return s.ServeTLS(l, s.CertFile, s.KeyFile) }

// HTTPServer returns the server that does the work; see [Server].
func (s TLSServer) HTTPServer() *http.Server { return s.Server }

func servesTLS(server Server) bool {
	switch server.(type) {
	case TLSServer, *TLSServer:
		return true
	}
	return false
}

// checkServer returns an error for an *http.Server that is not there, which would panic much later.
func checkServer(server Server) error {
	_, isHTTP := server.(*http.Server)
	if (isHTTP || servesTLS(server)) && serve.HTTPServer(server) == nil {
		return errors.New("the server is a nil *http.Server: pass a server, or nil to serve Node.Listener yourself")
	}
	return nil
}
