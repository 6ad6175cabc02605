package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/multinode-go/multinode/peer/invalidate"
)

const (
	defaultLimit = 20
	maxLimit     = 500
)

// handler answers for its node.
type handler struct {
	writeTimeout time.Duration // of a PUT
	node         int
	catalog      *catalog
	page         *page
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { h.page.serveIndex(w) })
	mux.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) { h.page.serveFile(w, r) })
	mux.HandleFunc("GET /products", h.list)
	mux.HandleFunc("GET /products/{id}", h.get)
	mux.HandleFunc("PUT /products/{id}", h.put)
	return harden(h.tellNode(mux))
}

// tellNode says in each answer which node it comes from.
func (h *handler) tellNode(next http.Handler) http.Handler {
	worker := strconv.Itoa(os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Node", strconv.Itoa(h.node))
		w.Header().Set("Worker", worker)
		if r.URL.Query().Has("close") { // the next request comes on a new connection, perhaps to another node
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// list reads from the database: a page of it is as new as a single product.
func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	after, err := number(r, "after", 0, 0, maxID)
	if err != nil {
		fail(w, err)
		return
	}
	limit, err := number(r, "limit", defaultLimit, 1, maxLimit)
	if err != nil {
		fail(w, err)
		return
	}
	products, err := h.catalog.store.products(r.Context(), after, int(limit)+1)
	if err != nil {
		fail(w, err)
		return
	}
	answer := struct {
		Products []product `json:"products"`
		Next     int64     `json:"next,omitempty"`
	}{Products: products}
	if len(products) > int(limit) {
		answer.Products = products[:limit]
		answer.Next = products[limit-1].ID
	}
	source(w, time.Time{}, time.Now())
	reply(w, http.StatusOK, answer)
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	id, err := pathID(r)
	if err != nil {
		fail(w, err)
		return
	}
	read, err := h.catalog.get(r.Context(), id)
	if missing, ok := errors.AsType[*missingError](err); ok {
		read.at = missing.at
	}
	if !read.at.IsZero() {
		source(w, begin, read.at)
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, read.product)
}

// put does not end when the client goes: what it has begun is finished.
func (h *handler) put(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		fail(w, err)
		return
	}
	p, err := readProduct(http.MaxBytesReader(w, r.Body, maxBody), id)
	if err != nil {
		fail(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.writeTimeout)
	defer cancel()
	now, err := h.catalog.put(ctx, p)
	switch {
	case errors.Is(err, errConflict):
		source(w, time.Time{}, time.Now())
		reply(w, http.StatusConflict, map[string]any{
			"error":   fmt.Sprintf("version: is %d, and that of the product is %d; nothing was changed", p.Version, now.product.Version),
			"field":   "version",
			"current": now.product,
		})
		return
	case err != nil:
		fail(w, err)
		return
	}
	source(w, time.Time{}, time.Now())
	if now.unconfirmed != nil {
		w.Header().Set("Unconfirmed", now.unconfirmed.Error())
	}
	status := http.StatusOK
	if p.Version == 0 {
		status = http.StatusCreated
	}
	reply(w, status, now.product)
}

func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 || id > maxID {
		return 0, wrong("id", "%q in the address: want a number from 1 to %d", r.PathValue("id"), int64(maxID))
	}
	return id, nil
}

func number(r *http.Request, name string, otherwise, least, most int64) (int64, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, wrong(name, "%q: want a number from %d to %d", text, least, most)
	}
	return n, nil
}

// source tells where an answer comes from: what was read after the request had come is from the database.
func source(w http.ResponseWriter, begin, read time.Time) {
	from, age := "database", time.Duration(0)
	if read.Before(begin) {
		from, age = "cache", time.Since(read)
	}
	w.Header().Set("Source", from)
	w.Header().Set("Value-Age", strconv.FormatFloat(age.Seconds(), 'f', 3, 64))
}

// fail answers with an error, and tells the client whether it can do something about it.
func fail(w http.ResponseWriter, err error) {
	if e, ok := errors.AsType[*fieldError](err); ok {
		reply(w, http.StatusBadRequest, e)
		return
	}
	status, text := http.StatusInternalServerError, err.Error()
	_, unconfirmed := errors.AsType[*invalidate.UnconfirmedError](err)
	switch {
	case unconfirmed, errors.Is(err, errBusy):
		status, text = http.StatusServiceUnavailable, "nothing was changed, ask again: "+text
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusGatewayTimeout, "read the product, its version tells whether the change was made: "+text
	case errors.Is(err, errMissing):
		status, text = http.StatusNotFound, text+"; PUT with version 0 makes it"
	}
	reply(w, status, map[string]string{"error": text})
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // another cache in the way would make all this void
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may have gone
}
