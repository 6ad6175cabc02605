package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
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

// page is the web page, the same on each node except the node's number.
type page struct {
	index []byte
	files map[string]file // by name
}

type file struct {
	data []byte
	tag  string
}

func newPage(node, keep int) (*page, error) {
	index, err := template.ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := index.Execute(&out, map[string]int{"Node": node, "Keep": keep, "MaxName": maxName, "MaxText": maxText}); err != nil {
		return nil, err
	}
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		return nil, err
	}
	p := &page{index: out.Bytes(), files: make(map[string]file)}
	for _, entry := range entries {
		data, err := pageFiles.ReadFile(path.Join("page", entry.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		p.files[entry.Name()] = file{data, strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:12]))}
	}
	delete(p.files, "index.html")
	return p, nil
}

func (p *page) serveIndex(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // it names its node
	_, _ = w.Write(p.index)                     // the client may have gone
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
