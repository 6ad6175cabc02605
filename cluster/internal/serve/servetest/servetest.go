// Package servetest has servers, listeners and clients for tests of serving and draining.
package servetest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multinode-go/multinode/internal/await"
)

// AcceptAll accepts with l until it is closed, at the latest at the end of the test, and sends each connection its remote
// address, for [Visit]. It returns how many it has accepted.
func AcceptAll(t *testing.T, l net.Listener) (accepted *atomic.Int64) {
	t.Helper()
	accepted = new(atomic.Int64)
	var loop sync.WaitGroup
	loop.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			accepted.Add(1)
			_, err = io.WriteString(conn, conn.RemoteAddr().String())
			if err = errors.Join(err, conn.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		loop.Wait()
	})
	return accepted
}

// Visit makes a connection and returns an error unless [AcceptAll] answers it.
func Visit(addr net.Addr) error {
	dialer := net.Dialer{Timeout: await.Limit}
	conn, err := dialer.DialContext(context.Background(), addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(await.Limit)); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if string(answer) != conn.LocalAddr().String() {
		return fmt.Errorf("%v was answered %q", conn.LocalAddr(), answer)
	}
	return nil
}

// Echo is a handler that answers with the body of the request.
func Echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// Exchange sends one request on conn, whose path is its body, and reads the response, which must be that of [Echo].
func Exchange(conn net.Conn, body string) (*http.Response, error) {
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: town\r\nContent-Length: %d\r\n\r\n%s", body, len(body), body); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(response.Body)
	if err == nil && string(answer) != body {
		return nil, fmt.Errorf("%s was answered %s %q", body, response.Status, answer)
	}
	return response, err
}

// Hijack takes the connection over from the server, and says so to the client.
func Hijack(w http.ResponseWriter) (net.Conn, error) {
	conn, _, err := w.(http.Hijacker).Hijack() // the ResponseWriter is the server's own
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	}
	return conn, err
}

// Certificate makes a certificate for the host "town".
func Certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	certPEM, keyPEM, err := newCertificate()
	err = errors.Join(err, os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certPEM) {
		t.Fatal("no certificate in what was written")
	}
	return certFile, keyFile, roots
}

func newCertificate() (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"town"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// LimitedServer is an [http.Server] that has one connection at a time.
type LimitedServer struct{ *http.Server }

// Serve serves l below a limit of one connection.
func (s LimitedServer) Serve(l net.Listener) error { return s.Server.Serve(NewLimitListener(l, 1)) }

// HTTPServer returns the server that does the work.
func (s LimitedServer) HTTPServer() *http.Server { return s.Server }

// LimitListener accepts a limited number of connections at the same time, as golang.org/x/net/netutil.LimitListener does.
type LimitListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once
}

// NewLimitListener returns a listener that accepts with l up to n connections at the same time.
func NewLimitListener(l net.Listener, n int) *LimitListener {
	return &LimitListener{Listener: l, places: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept waits for a place, and then for a connection.
func (l *LimitListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close ends Accept, and closes the listener below.
func (l *LimitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	leave func()
}

func (c *limitConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
