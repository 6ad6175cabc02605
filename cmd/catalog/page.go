package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"strconv"
	"time"
)

//go:embed page
var pageFiles embed.FS

// policy lets the page load what is ours and nothing else, and keeps it out of frames.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is the web page, the same on each node.
type page struct {
	index file
	files map[string]file // by name
}

type file struct {
	data []byte
	tag  string
}

func newPage() (*page, error) {
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		return nil, err
	}
	p := &page{files: make(map[string]file)}
	for _, entry := range entries {
		data, err := pageFiles.ReadFile(path.Join("page", entry.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		p.files[entry.Name()] = file{data, strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:12]))}
	}
	p.index = p.files["index.html"]
	delete(p.files, "index.html")
	return p, nil
}

func (p *page) serveIndex(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // its headers name its node
	_, _ = w.Write(p.index.data)                // the client may have gone
}

// serveFile serves a file of the page. A browser asks each time whether it has changed, as the next node may be newer.
func (p *page) serveFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	f, ok := p.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.tag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.data))
}

// harden sets the headers that each response has.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
