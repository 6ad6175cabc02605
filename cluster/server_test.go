package cluster

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cluster/internal/serve/servetest"
)

// TestListenTLS: a node serves HTTPS, with files and with certificates, and tells its clients when it drains.
func TestListenTLS(t *testing.T) {
	certFile, keyFile, roots := servetest.Certificate(t)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for name, wrap := range map[string]func(*http.Server) Server{
		"files": func(s *http.Server) Server { return TLSServer{Server: s, CertFile: certFile, KeyFile: keyFile} },
		"config": func(s *http.Server) Server {
			s.TLSConfig = config.Clone()
			return &TLSServer{Server: s}
		},
	} {
		t.Run(name, func(t *testing.T) {
			began, known := make(chan struct{}), make(chan *Node, 1)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				began <- struct{}{}
				n := <-known
				<-n.Draining().Done()
				_, _ = io.WriteString(w, "goodbye")
			})}
			n, err := listen(Options{Addr: "127.0.0.1:0", Nodes: 1, Logger: slog.New(slog.DiscardHandler)}, wrap(server),
				system{balances: func() error { return http.ErrNotSupported }})
			require.NoError(t, err)
			known <- n
			tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "town"}}
			got := make(chan *http.Response, 1)
			go func() {
				response, err := (&http.Client{Transport: tr}).Get("https://" + n.Addr().String())
				assert.NoError(t, err)
				got <- response
			}()
			<-began
			require.NoError(t, n.Shutdown(t.Context()))
			if response := <-got; response != nil {
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				assert.Equal(t, "goodbye", string(body))
				require.NoError(t, response.Body.Close())
				assert.NotNil(t, response.TLS)
			}
		})
	}
}

func TestOptionsOfAServer(t *testing.T) {
	for _, c := range []struct {
		server Server
		addr   string
	}{
		{nil, ":http"},
		{&http.Server{}, ":http"},
		{&http.Server{Addr: ":8080"}, ":8080"},
		{TLSServer{Server: &http.Server{}}, ":https"},
		{&TLSServer{Server: &http.Server{Addr: ":8443"}}, ":8443"},
		{servetest.LimitedServer{Server: &http.Server{Addr: ":8081"}}, ":8081"},
	} {
		opts, err := Options{}.withDefaults(c.server)
		require.NoError(t, err)
		assert.Equal(t, c.addr, opts.Addr)
		assert.Equal(t, opts.StopTimeout, opts.HijackTimeout)
		assert.NotZero(t, opts.LameDuck)
	}
	for _, server := range []Server{(*http.Server)(nil), TLSServer{}, &TLSServer{}} {
		_, err := Options{}.withDefaults(server)
		require.ErrorContains(t, err, "nil *http.Server")
	}
	_, err := Options{LameDuck: -1}.withDefaults(nil)
	require.ErrorContains(t, err, "LameDuck")
	_, err = Options{HijackTimeout: -1}.withDefaults(nil)
	assert.ErrorContains(t, err, "HijackTimeout")
}
