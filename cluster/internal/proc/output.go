package proc

import (
	"io"
	"strings"
	"sync"
)

// prefixer writes lines of several sources to one writer, each with the prefix of its source.
type prefixer struct {
	mu  sync.Mutex
	out io.Writer // guarded by mu
}

// writer returns a writer for one source. It writes whole lines, and at the end an unfinished line.
func (p *prefixer) writer(prefix string) *prefixed { return &prefixed{to: p, prefix: prefix} }

type prefixed struct {
	to     *prefixer
	prefix string
	half   string
}

// maxOutputLine is the length from which on a line is written in parts.
const maxOutputLine = 64 << 10

var _ io.WriteCloser = (*prefixed)(nil)

// Write writes the lines that are whole.
func (w *prefixed) Write(b []byte) (int, error) {
	w.half += string(b)
	for {
		line, rest, whole := strings.Cut(w.half, "\n")
		if !whole && len(w.half) < maxOutputLine {
			return len(b), nil
		}
		w.half = rest
		w.write(line)
	}
}

// Close writes the last line, if it has no end.
func (w *prefixed) Close() error {
	if w.half != "" {
		w.write(w.half)
		w.half = ""
	}
	return nil
}

func (w *prefixed) write(line string) {
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	_, _ = io.WriteString(w.to.out, w.prefix+line+"\n") // an error has no reader
}
