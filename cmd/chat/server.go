package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// server is an http.Server that on Shutdown also ends the WebSockets, of which http.Server knows nothing once it has
// handed them out.
type server struct {
	http    *http.Server
	handler *handler
}

func newServer(h *handler) *server {
	s := &http.Server{Handler: h.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	return &server{s, h}
}

func (s *server) Serve(l net.Listener) error { return s.http.Serve(l) }

// Shutdown first stops accepting, so that the browsers that it then sends away connect to other nodes.
func (s *server) Shutdown(ctx context.Context) error {
	return errors.Join(s.http.Shutdown(ctx), s.handler.room.close(ctx))
}

func (s *server) Close() error { return s.http.Close() }
