package report

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	barWidth     = 16
	longestName  = 48               // of a step, so that the line is not broken
	lineInterval = 30 * time.Second // between two lines where there is no terminal
)

// Progress shows how far a comparison is and how long it will still take, if the rest is as slow as what is past: by a bar on a
// terminal, and by a line now and then elsewhere. Its methods may be called at the same time.
type Progress struct {
	bar      *progressbar.ProgressBar
	expected time.Duration
	lines    io.Writer // nil: there is a terminal

	mu       sync.Mutex    // guards what follows
	step     time.Duration // how long the step that goes on should take
	lastLine time.Time
}

// NewProgress begins to show the progress of steps that should take a time all together. Close ends it.
func NewProgress(w io.Writer, expected time.Duration) *Progress {
	f, ok := w.(*os.File)
	return newProgress(w, expected, ok && term.IsTerminal(int(f.Fd())))
}

func newProgress(w io.Writer, expected time.Duration, terminal bool) *Progress {
	p := &Progress{expected: expected}
	if !terminal {
		p.lines, w = w, io.Discard
	}
	p.bar = progressbar.NewOptions64(max(1, expected.Milliseconds()), progressbar.OptionSetWriter(w),
		progressbar.OptionSetTheme(progressbar.ThemeUnicode), progressbar.OptionSetWidth(barWidth), progressbar.OptionClearOnFinish(),
		progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionUseANSICodes(true))
	return p
}

// Begin ends the step before and begins the next one. Errors of the writer are ignored: a progress that cannot be shown must not
// end what it shows.
func (p *Progress) Begin(name string, expected time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.bar.Add64(p.step.Milliseconds())
	p.step = expected
	name = plain(name)
	p.bar.Describe(string([]rune(name)[:min(len([]rune(name)), longestName)]))
	if p.lines != nil && time.Since(p.lastLine) >= lineInterval {
		p.lastLine = time.Now()
		share, left := p.share()
		fmt.Fprintf(p.lines, "%3.0f %%, %s left: %s\n", 100*share, left.Round(time.Second), name)
	}
}

// share returns what part is done, and how long the rest takes.
func (p *Progress) share() (part float64, left time.Duration) {
	s := p.bar.State()
	if s.CurrentNum == 0 {
		return 0, p.expected
	}
	return s.CurrentPercent, time.Duration(s.SecondsLeft * float64(time.Second))
}

// Close clears the bar. It may be called more than once.
func (p *Progress) Close() {
	_ = p.bar.Finish() // as with Begin
}
