package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strconv"

	"github.com/coder/websocket"
)

// handler answers for its node.
type handler struct {
	room  *room
	relay *relay
	page  *page
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { h.page.serveIndex(w) })
	mux.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) { h.page.serveFile(w, r) })
	mux.HandleFunc("GET /node", h.node)
	mux.HandleFunc("GET /socket", h.socket)
	return harden(h.tellNode(mux))
}

// tellNode says in each answer which node it comes from.
func (h *handler) tellNode(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Node-Id", strconv.Itoa(h.room.self))
		next.ServeHTTP(w, r)
	})
}

// node answers with the id and pid of this process, for a user who wants to end it.
func (h *handler) node(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]int{"node": h.room.self, "pid": os.Getpid()}) // the client may have gone
}

// socket takes the WebSocket of a page of ours: Accept refuses those of other sites by their Origin.
func (h *handler) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	newSession(conn, h.room, h.relay).serve(r.Context())
}
