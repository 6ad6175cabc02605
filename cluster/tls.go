package cluster

import (
	"net"
	"net/http"
)

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
